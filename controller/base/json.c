#include "base/json.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

/* Whether an allocation failed while this thread was in json_read. jansson's hooks take no argument. */
static _Thread_local bool out_of_memory;

static void *allocate(size_t size) {
    void *block = malloc(size);
    if (!block)
        out_of_memory = true;
    return block;
}

/* At any time, since what malloc gave before is freed by free as well. */
static void set_hooks(void) {
    json_set_alloc_funcs(allocate, free);
}

json_t *json_read(const char *text, size_t len, size_t flags, int *ret_line, struct error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    json_error_t why;
    pthread_once(&once, set_hooks);
    out_of_memory = false;
    json_t *json = json_loadb(text, len, flags, &why);
    if (out_of_memory) {
        json_decref(json);
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
