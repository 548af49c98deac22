/*
 * strbuf: text that grows up to a ceiling.
 *
 * The first failure (no memory, or past the ceiling) sticks: later calls do nothing, and strbuf_failed tells at the
 * end, so that a long run of appends needs one check. Always NUL-terminated once something was added. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct strbuf {
    char *data; /* NULL until the first byte */
    size_t len;
    size_t capacity;
    size_t limit; /* the ceiling in bytes, NUL not counted */
    bool failed;
    bool no_memory; /* why it failed */
};

#define STRBUF_INIT(ceiling) \
    { .limit = (ceiling) }

void strbuf_init(struct strbuf *buf, size_t limit);
void strbuf_finish(struct strbuf *buf);
void strbuf_clear(struct strbuf *buf); /* empty, capacity kept, failure forgotten */
void strbuf_add(struct strbuf *buf, const void *data, size_t len);
void strbuf_add_text(struct strbuf *buf, const char *text);
void strbuf_add_char(struct strbuf *buf, char c);
void strbuf_add_format(struct strbuf *buf, const char *fmt, ...) printf_like(2, 3);
/* The text, "" when empty. Borrowed until the next change. */
const char *strbuf_text(const struct strbuf *buf);
/* Hand the heap text over, NULL if it failed. The buffer is empty afterwards. */
char *strbuf_take(struct strbuf *buf);
bool strbuf_failed(const struct strbuf *buf);
