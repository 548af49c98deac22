/*
 * job_source: a Job's JSON and the job_object read from it, which a struct job borrows from. For tests.
 */
#pragma once

#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/job_object.h"

struct job_source {
    json_t *json;
    struct job_object object;
};

/* Takes json; borrows template. */
static inline struct job_source *job_source_create(json_t *json, const char *template) {
    struct job_source *source = malloc(sizeof *source);
    ck_assert_ptr_nonnull(source);
    source->json = json;
    ck_assert_int_eq(job_object_read(json, template, strlen(template), &source->object, NULL), 0);
    return source;
}

static inline void job_source_destroy(struct job_source *source) {
    job_object_finish(&source->object);
    json_decref(source->json);
    free(source);
}
