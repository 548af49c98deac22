/*
 * Any bytes as a stream from the API server: the same items come out however it is cut, and where a whole-document
 * parser understands the bytes, the framer agrees with it about every value.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "kube/framer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ensure(condition) \
    do { \
        if (!(condition)) \
            abort(); \
    } while (0)

#define PARSE (JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES)

/* All that came out, one after the other. */
struct seen {
    struct strbuf text;
    json_t *items, *envelope; /* NULL: not asked for */
    bool all_parsed;
    int result;
    struct error err;
};

static void remember(struct seen *seen, char what, const char *text, size_t len) {
    ensure(text[len] == '\0');
    strbuf_add_char(&seen->text, what);
    strbuf_add(&seen->text, &len, sizeof len);
    strbuf_add(&seen->text, text, len);
}

static int on_item(void *arg, const char *json, size_t len, const char *aside, size_t aside_len) {
    struct seen *seen = arg;
    ensure(len > 0 && len <= FRAMER_ITEM_MAX && aside_len <= FRAMER_ASIDE_MAX);
    remember(seen, 'i', json, len);
    remember(seen, 'a', aside, aside_len);
    if (!seen->items)
        return 0;
    json_t *item = json_loadb(json, len, PARSE, NULL);
    seen->all_parsed &= item != NULL;
    if (item)
        json_array_append_new(seen->items, item);
    json_t *value = aside_len ? json_loadb(aside, aside_len, PARSE, NULL) : NULL;
    seen->all_parsed &= !aside_len || value;
    json_decref(value);
    return 0;
}

static int on_envelope(void *arg, const char *json, size_t len) {
    struct seen *seen = arg;
    remember(seen, 'e', json, len);
    if (seen->items && !seen->envelope) {
        seen->envelope = json_loadb(json, len, PARSE, NULL);
        seen->all_parsed &= seen->envelope != NULL;
    }
    return 0;
}

#define CUT_EVERYWHERE 64 /* bytes: inputs up to this are cut in two at every place there is */

enum { WHOLE, BY_BYTE, BY_ITSELF /* in pieces as long as the input's own bytes say */, WAYS };

/* how: one of these, or WAYS + n: cut in two after n bytes. */
static size_t piece_of(int how, const char *data, size_t size, size_t at) {
    if (how < WAYS)
        return how == WHOLE ? size : how == BY_BYTE ? 1 : ((unsigned char)data[at] & 15u) + 1;
    return at == 0 && how > WAYS ? (size_t)(how - WAYS) : size;
}

static void frame(const char *data, size_t size, int how, struct seen *seen) {
    const struct framer_handler handler = {.arg = seen, .item = on_item, .envelope = on_envelope};
    struct framer *framer = framer_create(&handler, NULL);
    ensure(framer);
    strbuf_init(&seen->text, 64u << 20);
    for (size_t at = 0; at < size && seen->result == 0;) {
        size_t n = piece_of(how, data, size, at);
        n = n < size - at ? n : size - at;
        seen->result = framer_push(framer, data + at, n, &seen->err);
        at += n;
    }
    if (seen->result == 0)
        seen->result = framer_end(framer, &seen->err);
    ensure(seen->result == 0 || (seen->result == -1 && seen->err.text[0]));
    framer_destroy(framer);
}

/* However the bytes came: the same items, and the same error at the same place. */
static void check_same(const struct seen *a, const struct seen *b) {
    ensure(a->result == b->result && a->text.len == b->text.len);
    ensure(a->text.len == 0 || memcmp(a->text.data, b->text.data, a->text.len) == 0);
    ensure(a->err.kind == b->err.kind && strcmp(a->err.text, b->err.text) == 0);
}

static void drop(json_t *object) {
    json_t *metadata = json_object_get(object, "metadata"), *spec = json_object_get(object, "spec");
    if (json_object_get(metadata, "managedFields"))
        json_object_set_new(metadata, "managedFields", json_null());
    if (json_object_get(spec, "template"))
        json_object_set_new(spec, "template", json_null());
}

/* The same cut, made by a parser that has the whole document. */
static void compare(json_t *document, const struct seen *seen) {
    ensure(seen->result == 0 || seen->err.kind == ERROR_LIMIT);
    if (seen->result < 0)
        return;
    ensure(seen->all_parsed);
    drop(document);
    drop(json_object_get(document, "object"));
    json_t *items = json_object_get(document, "items");
    if (json_is_null(items)) {
        ensure(json_array_size(seen->items) == 0 && json_equal(seen->envelope, document));
    } else if (json_is_array(items)) {
        size_t i;
        json_t *item;
        json_array_foreach (items, i, item)
            drop(item);
        ensure(json_equal(seen->items, items));
        json_array_clear(items);
        ensure(json_equal(seen->envelope, document));
    } else {
        ensure(!seen->envelope && json_array_size(seen->items) == 1);
        ensure(json_equal(json_array_get(seen->items, 0), document));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* Never NULL, and what has no end is read past it. */
    char *text = malloc(size ? size : 1);
    ensure(text);
    if (size)
        memcpy(text, data, size);
    struct seen seen = {.items = json_array(), .all_parsed = true};
    frame(text, size, WHOLE, &seen);
    int ways = WAYS + (size <= CUT_EVERYWHERE ? (int)size : 0);
    for (int how = BY_BYTE; how < ways; how++) {
        struct seen other = {.items = NULL};
        frame(text, size, how, &other);
        check_same(&seen, &other);
        strbuf_finish(&other.text);
    }
    /* A key may be written with escapes, which the framer does not look through. */
    bool plain = !size || !memchr(text, '\\', size);
    json_t *document = size ? json_loadb(text, size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (json_is_object(document)) {
        if (plain)
            compare(document, &seen);
        else
            ensure(seen.result == 0 ? seen.all_parsed : seen.err.kind == ERROR_LIMIT);
    }
    json_decref(document);
    json_decref(seen.items);
    json_decref(seen.envelope);
    strbuf_finish(&seen.text);
    free(text);
    return 0;
}
