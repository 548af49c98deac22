/*
 * tree: a small YAML or JSON file as a tree of values, and values taken from it with errors that name file and key. The
 * only module that includes libyaml. Pure, any thread.
 *
 * Made for kubeconfigs: bounded in size, depth and number of values; aliases are refused, so nothing can expand. Takers
 * copy onto the heap (the caller's), finders borrow from the tree. What is missing, null, or an empty text leaves NULL
 * and is no error. Errors are ERROR_USAGE or ERROR_NOMEM.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/strbuf.h"

#define TREE_DEPTH_MAX 32     /* a kubeconfig is 6 deep; extensions may add some */
#define TREE_NODES_MAX 100000 /* bounds the memory that a megabyte of commas takes */
#define TREE_QUOTED_MAX 400   /* a name in an error, escaped and cut */

enum tree_kind { TREE_NULL, TREE_TEXT, TREE_LIST, TREE_MAP };

struct tree_node {
    enum tree_kind kind;
    bool plain;                     /* text without quotes: may mean a number or a boolean */
    unsigned line;                  /* from 1 */
    char *text;                     /* TREE_NULL and TREE_TEXT */
    char *key;                      /* of a map's child */
    char *pending;                  /* of a map while it is read: the key whose value comes next */
    struct tree_node *first, *last; /* children */
    struct tree_node *next;
};

struct tree_file {
    char *shown;            /* its path, escaped */
    char *folder;           /* with a slash at the end, or "" */
    struct tree_node *root; /* the first document, as kubectl does; NULL when there is none */
};

/* Where in which file we are: for errors, and for relative paths. */
struct tree_place {
    const struct tree_file *file;
    char what[TREE_QUOTED_MAX + 32]; /* "user 'x'", or "" */
};

/* text is borrowed for the call. tree_file_finish is due after a failure too. */
int tree_file_init(
        struct tree_file *file, const char *path, const char *text, size_t len, struct error *err) must_check;
void tree_file_finish(struct tree_file *file);

/* The name in quotes, escaped, and cut. Returns buf. */
const char *tree_quote(char buf[TREE_QUOTED_MAX], const char *name);

/* "FILE: WHAT: text", as ERROR_USAGE. Returns -1. */
int tree_fail(const struct tree_place *place, struct error *err, const char *fmt, ...) printf_like(3, 4);
/* The same with "key: " and what a lower layer said. Out of memory stays what it is. Returns -1. */
int tree_context(const struct tree_place *place, struct error *err, const char *key);

/* map may be NULL: then nothing is found. A key that is there twice is an error, so is a value of another kind. */
int tree_find(const struct tree_place *place, const struct tree_node *map, const char *key, enum tree_kind kind,
        const struct tree_node **ret, struct error *err) must_check;
int tree_find_text(const struct tree_place *place, const struct tree_node *map, const char *key, const char **ret,
        struct error *err) must_check;
int tree_take_text(const struct tree_place *place, const struct tree_node *map, const char *key, char **ret,
        struct error *err) must_check;
/* For what ends in a header or in a URL: without control characters. */
int tree_take_line(const struct tree_place *place, const struct tree_node *map, const char *key, char **ret,
        struct error *err) must_check;
/* ret is left alone when the key is not there. */
int tree_take_bool(const struct tree_place *place, const struct tree_node *map, const char *key, bool *ret,
        struct error *err) must_check;
/* A relative path is one from the file's folder. */
int tree_take_path(const struct tree_place *place, const struct tree_node *map, const char *key, char **ret,
        struct error *err) must_check;

/* Shorthands: strdup where NULL gives NULL, and a path seen from a folder (NULL: no memory). */
int tree_copy(const char *text, char **ret, struct error *err) must_check;
char *tree_join(const char *folder, const char *path);

/* The node as JSON, with the types that YAML 1.2's core schema gives to texts without quotes. */
void tree_add_json(struct strbuf *json, const struct tree_node *node);
