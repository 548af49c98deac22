#include "base/strbuf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STRBUF_FIRST 64

void strbuf_init(struct strbuf *buf, size_t limit) {
    *buf = (struct strbuf)STRBUF_INIT(limit);
}

void strbuf_finish(struct strbuf *buf) {
    free(buf->data);
    *buf = (struct strbuf)STRBUF_INIT(buf->limit);
}

void strbuf_clear(struct strbuf *buf) {
    buf->len = 0;
    buf->failed = buf->no_memory = false;
    if (buf->data)
        buf->data[0] = '\0';
}

static bool make_room(struct strbuf *buf, size_t more) {
    if (buf->failed)
        return false;
    if (more > buf->limit - buf->len) {
        buf->failed = true;
        return false;
    }
    size_t wanted = buf->len + more + 1;
    if (wanted <= buf->capacity)
        return true;
    size_t capacity = buf->capacity ? buf->capacity : STRBUF_FIRST;
    while (capacity < wanted)
        capacity += capacity / 2;
    char *data = realloc(buf->data, capacity);
    if (!data) {
        buf->failed = buf->no_memory = true;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

void strbuf_add(struct strbuf *buf, const void *data, size_t len) {
    if (!make_room(buf, len))
        return;
    if (len)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void strbuf_add_text(struct strbuf *buf, const char *text) {
    strbuf_add(buf, text, strlen(text));
}

void strbuf_add_char(struct strbuf *buf, char c) {
    strbuf_add(buf, &c, 1);
}

void strbuf_add_format(struct strbuf *buf, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    /* Where there is room for it already, once is enough. */
    size_t room = buf->capacity ? buf->capacity - buf->len : 0;
    int wanted = vsnprintf(room ? buf->data + buf->len : NULL, room, fmt, args);
    va_end(args);
    if (wanted < 0)
        buf->failed = true;
    else if (make_room(buf, (size_t)wanted)) {
        if ((size_t)wanted >= room)
            vsnprintf(buf->data + buf->len, (size_t)wanted + 1, fmt, again);
        buf->len += (size_t)wanted;
    }
    if (buf->failed && buf->data)
        buf->data[buf->len] = '\0';
    va_end(again);
}

const char *strbuf_text(const struct strbuf *buf) {
    return buf->data ? buf->data : "";
}

char *strbuf_take(struct strbuf *buf) {
    strbuf_add(buf, "", 0);
    if (buf->failed)
        return NULL;
    char *data = buf->data;
    *buf = (struct strbuf)STRBUF_INIT(buf->limit);
    return data;
}

bool strbuf_failed(const struct strbuf *buf) {
    return buf->failed;
}
