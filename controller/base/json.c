#include "base/json.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define GROWS_FROM 32 /* the first size to which a strbuffer grows; then it doubles */

/* Whether an allocation failed while this thread was in json_read. jansson's hooks take no argument. */
static _Thread_local bool out_of_memory;

/*
 * While this thread is in json_read: what the buffer of the text under way may need to grow. When that fails, jansson
 * goes on without the character (lex_save in its load.c), and where that was a closing quote, reads and writes past the
 * end of the buffer. So it never fails: what was parsed is thrown away afterwards. All else that fails ends the parser
 * in good order, and soon. What is handed out here is not taken back, and needs no more than the sum of all sizes.
 */
static _Thread_local struct {
    char *block;
    size_t size, used;
} reserve;

static void *take_from_reserve(size_t size) {
    bool grows = size >= GROWS_FROM && (size & (size - 1)) == 0;
    if (!grows || size > reserve.size - reserve.used)
        return NULL;
    void *block = reserve.block + reserve.used;
    reserve.used += size;
    return block;
}

static void *allocate(size_t size) {
    void *block = malloc(size);
    if (block)
        return block;
    out_of_memory = true;
    return take_from_reserve(size);
}

static void release(void *block) {
    uintptr_t at = (uintptr_t)block, begin = (uintptr_t)reserve.block;
    if (!begin || at < begin || at >= begin + reserve.size)
        free(block);
}

/* At any time, since what malloc gave before is freed by release as well. */
static void set_hooks(void) {
    json_set_alloc_funcs(allocate, release);
}

/* As json_loadb. */
static json_t *load(const char *text, size_t len, size_t flags, json_error_t *why) {
    reserve.size = 4 * len + 4096;
    reserve.used = 0;
    reserve.block = malloc(reserve.size);
    out_of_memory = !reserve.block;
    json_t *json = out_of_memory ? NULL : json_loadb(text, len, flags, why);
    if (out_of_memory) {
        json_decref(json);
        json = NULL;
    }
    free(reserve.block);
    reserve.block = NULL;
    reserve.size = reserve.used = 0;
    return json;
}

json_t *json_read(const char *text, size_t len, size_t flags, int *ret_line, struct error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    json_error_t why;
    pthread_once(&once, set_hooks);
    json_t *json = load(text, len, flags, &why);
    if (out_of_memory) {
        error_nomem(err);
        return NULL;
    }
    if (!json) {
        error_set(err, ERROR_FORMAT, "%s", why.text);
        if (ret_line)
            *ret_line = why.line;
    }
    return json;
}
