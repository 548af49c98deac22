/*
 * tell: all that a job_object says, as text, so that two of them can be compared. Images are told as the register keeps
 * them, for JSON has them in its template.
 */
#ifndef TESTS_PROTOBUF_TELL_H
#define TESTS_PROTOBUF_TELL_H

#include "base/strbuf.h"
#include "jobs/job_object.h"

/* What is in it. */
void tell_object(struct strbuf *to, const struct job_object *object);
/* What becomes of it: the Job and its doubts, and the run in the register. false: memory ran out. */
bool tell_consequences(struct strbuf *to, const struct job_object *object);

#endif
