#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void mark_cut(char *text, int wanted) {
    if (wanted >= ERROR_TEXT_MAX)
        memcpy(text + ERROR_TEXT_MAX - 4, "...", 4);
}

int error_set(struct error *err, enum error_kind kind, const char *fmt, ...) {
    if (!err)
        return -1;
    va_list args;
    va_start(args, fmt);
    err->kind = kind;
    mark_cut(err->text, vsnprintf(err->text, sizeof err->text, fmt, args));
    va_end(args);
    return -1;
}

int error_context(struct error *err, const char *fmt, ...) {
    if (!err)
        return -1;
    char before[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(before, sizeof before, fmt, args);
    va_end(args);
    char old[ERROR_TEXT_MAX];
    memcpy(old, err->text, sizeof old);
    size_t len = strlen(before);
    if (len > sizeof before - 3)
        len = sizeof before - 3;
    memcpy(err->text, before, len);
    memcpy(err->text + len, ": ", 3);
    int room = (int)(sizeof err->text - len - 2);
    mark_cut(err->text, (int)len + 2 + snprintf(err->text + len + 2, (size_t)room, "%s", old));
    return -1;
}

int error_nomem(struct error *err) {
    return error_set(err, ERROR_NOMEM, "out of memory");
}
