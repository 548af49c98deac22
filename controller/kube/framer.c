#include "kube/framer.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"

#define KEY_MAX 16 /* the longest key that matters is "managedFields"; longer ones match nothing */

/* What a container is, as far as cutting goes. */
enum role {
    ROLE_PLAIN,
    ROLE_ROOT,     /* the document */
    ROLE_ITEMS,    /* its "items" list */
    ROLE_OBJECT,   /* an API object: an element of items, "object" of a frame; a document can be one too */
    ROLE_METADATA, /* of an object */
    ROLE_SPEC
};

enum expect { EXPECT_VALUE, EXPECT_FIRST_VALUE, EXPECT_KEY, EXPECT_FIRST_KEY, EXPECT_COLON, EXPECT_COMMA };

struct level {
    char closer; /* '}' or ']' */
    uint8_t role;
};

struct framer {
    struct framer_handler handler;
    struct level levels[FRAMER_DEPTH_MAX];
    int depth;
    enum expect expect;
    bool in_string, escaped, string_is_key, in_scalar;
    char key[KEY_MAX + 1];
    size_t key_len;

    struct strbuf root, item, aside;
    struct strbuf *out;        /* where bytes go now; NULL: dropped */
    struct strbuf *out_before; /* while a value is dropped or put aside */
    int redirect_depth;        /* the depth at which the redirected value ends, -1: none */
    bool is_list;
    uint64_t offset;
    size_t documents;
};

struct framer *framer_create(const struct framer_handler *handler, struct error *err) {
    struct framer *framer = calloc(1, sizeof *framer);
    if (!framer) {
        error_nomem(err);
        return NULL;
    }
    framer->handler = *handler;
    strbuf_init(&framer->root, FRAMER_ITEM_MAX);
    strbuf_init(&framer->item, FRAMER_ITEM_MAX);
    strbuf_init(&framer->aside, FRAMER_ASIDE_MAX);
    framer->redirect_depth = -1;
    framer->expect = EXPECT_VALUE;
    return framer;
}

void framer_destroy(struct framer *framer) {
    if (!framer)
        return;
    strbuf_finish(&framer->root);
    strbuf_finish(&framer->item);
    strbuf_finish(&framer->aside);
    free(framer);
}

size_t framer_documents(const struct framer *framer) {
    return framer->documents;
}

static void put(struct framer *f, char c) {
    if (f->out)
        strbuf_add_char(f->out, c);
}

static int unexpected(const struct framer *f, unsigned char c, struct error *err) {
    static const char *const wanted[] = {"a value", "a value or ]", "a key", "a key or }", "':'", "',' or the end"};
    if (f->depth == 0 && c == '<')
        return error_set(err, ERROR_FORMAT, "this is not JSON but looks like HTML or XML (it starts with '<')");
    if (f->depth == 0 && f->documents == 0 && isalpha(c))
        return error_set(err, ERROR_FORMAT, "this is not JSON (it starts with '%c'); if it is YAML, use -o json", c);
    char shown[8] = {(char)c, '\0'};
    if (!isprint(c)) {
        static const char hex[] = "0123456789abcdef";
        memcpy(shown, (char[]){'0', 'x', hex[c >> 4], hex[c & 15], '\0'}, 5);
    }
    return error_set(err, ERROR_FORMAT, "not JSON: '%s' at byte %llu, where %s should be", shown,
            (unsigned long long)f->offset + 1, f->depth == 0 ? "an object" : wanted[f->expect]);
}

static bool key_is(const struct framer *f, const char *key) {
    return f->key_len == strlen(key) && memcmp(f->key, key, f->key_len) == 0;
}

static enum role role_above(const struct framer *f) {
    return f->depth ? (enum role)f->levels[f->depth - 1].role : ROLE_PLAIN;
}

/* Where an API object's members may stand: an item of a list, the object of a frame, or the document itself. */
static bool in_object(const struct framer *f) {
    enum role role = role_above(f);
    return role == ROLE_OBJECT || role == ROLE_ROOT;
}

/* The role of a container that opens here. */
static enum role role_of_new(const struct framer *f, char opener) {
    enum role above = role_above(f);
    if (f->depth == 0)
        return ROLE_ROOT;
    if (above == ROLE_ITEMS)
        return opener == '{' ? ROLE_OBJECT : ROLE_PLAIN;
    if (above == ROLE_ROOT && opener == '[' && key_is(f, "items"))
        return ROLE_ITEMS;
    if (above == ROLE_ROOT && opener == '{' && key_is(f, "object"))
        return ROLE_OBJECT;
    if (in_object(f) && opener == '{' && key_is(f, "metadata"))
        return ROLE_METADATA;
    if (in_object(f) && opener == '{' && key_is(f, "spec"))
        return ROLE_SPEC;
    return ROLE_PLAIN;
}

/* A value starts: does it go elsewhere? A dropped value leaves "null" in its place. */
static void redirect_if_wanted(struct framer *f) {
    if (f->redirect_depth >= 0)
        return;
    struct strbuf *to;
    if (role_above(f) == ROLE_METADATA && key_is(f, "managedFields"))
        to = NULL;
    else if (role_above(f) == ROLE_SPEC && key_is(f, "template"))
        to = &f->aside;
    else
        return;
    if (f->out)
        strbuf_add_text(f->out, "null");
    f->out_before = f->out;
    f->out = f->out ? to : NULL;
    f->redirect_depth = f->depth;
    if (f->out)
        strbuf_clear(f->out);
}

static int emit_item(struct framer *f, struct strbuf *item, struct error *err) {
    if (item->no_memory || f->aside.no_memory)
        return error_nomem(err);
    if (strbuf_failed(item))
        return error_set(err, ERROR_LIMIT, "an item before byte %llu is larger than %u bytes",
                (unsigned long long)f->offset + 1, FRAMER_ITEM_MAX);
    bool has_aside = !strbuf_failed(&f->aside);
    int result = f->handler.item(f->handler.arg, strbuf_text(item), item->len, has_aside ? strbuf_text(&f->aside) : "",
            has_aside ? f->aside.len : 0);
    strbuf_clear(item);
    strbuf_clear(&f->aside);
    return result;
}

static int end_document(struct framer *f, struct error *err) {
    f->documents++;
    f->expect = EXPECT_VALUE;
    int result;
    if (f->is_list) {
        if (f->root.no_memory)
            return error_nomem(err);
        if (strbuf_failed(&f->root))
            return error_set(err, ERROR_LIMIT, "a list's envelope is larger than %u bytes", FRAMER_ITEM_MAX);
        result = f->handler.envelope(f->handler.arg, strbuf_text(&f->root), f->root.len);
        strbuf_clear(&f->root);
    } else {
        result = emit_item(f, &f->root, err);
    }
    f->is_list = false;
    f->out = NULL;
    return result;
}

/* A value has ended (scalar, string or container). */
static int end_value(struct framer *f, struct error *err) {
    if (f->redirect_depth == f->depth) {
        f->out = f->out_before;
        f->redirect_depth = -1;
    }
    if (f->depth == 0)
        return end_document(f, err);
    f->expect = EXPECT_COMMA;
    if (role_above(f) == ROLE_ITEMS && f->redirect_depth < 0) {
        int result = emit_item(f, &f->item, err);
        f->out = NULL; /* the commas between items go nowhere */
        return result;
    }
    return 0;
}

/* A value starts in "items". What is aside now came from elsewhere in the document. */
static void start_item(struct framer *f) {
    if (role_above(f) != ROLE_ITEMS || f->redirect_depth >= 0)
        return;
    f->out = &f->item;
    strbuf_clear(&f->aside);
}

static int open_container(struct framer *f, char opener, struct error *err) {
    if (f->depth == FRAMER_DEPTH_MAX)
        return error_set(err, ERROR_LIMIT, "JSON nested deeper than %d at byte %llu", FRAMER_DEPTH_MAX,
                (unsigned long long)f->offset + 1);
    if (f->depth == 0) {
        if (opener != '{')
            return unexpected(f, (unsigned char)opener, err);
        f->out = &f->root;
        strbuf_clear(&f->aside);
    }
    redirect_if_wanted(f);
    enum role role = role_of_new(f, opener);
    start_item(f);
    put(f, opener);
    f->levels[f->depth++] = (struct level){.closer = opener == '{' ? '}' : ']', .role = (uint8_t)role};
    f->expect = opener == '{' ? EXPECT_FIRST_KEY : EXPECT_FIRST_VALUE;
    if (role == ROLE_ITEMS) {
        f->is_list = true;
        f->out = NULL;
    }
    return 0;
}

static int close_container(struct framer *f, char closer, struct error *err) {
    bool allowed = f->expect == EXPECT_COMMA || (f->expect == EXPECT_FIRST_KEY && closer == '}') ||
                   (f->expect == EXPECT_FIRST_VALUE && closer == ']');
    if (f->depth == 0 || !allowed || f->levels[f->depth - 1].closer != closer)
        return unexpected(f, (unsigned char)closer, err);
    if (f->levels[f->depth - 1].role == ROLE_ITEMS)
        f->out = &f->root;
    put(f, closer);
    f->depth--;
    return end_value(f, err);
}

static int start_string(struct framer *f, struct error *err) {
    bool is_key = f->expect == EXPECT_KEY || f->expect == EXPECT_FIRST_KEY;
    if (f->depth == 0 || (!is_key && f->expect != EXPECT_VALUE && f->expect != EXPECT_FIRST_VALUE))
        return unexpected(f, '"', err);
    f->string_is_key = is_key;
    f->in_string = true;
    if (is_key) {
        f->key_len = 0;
    } else {
        redirect_if_wanted(f);
        start_item(f);
    }
    put(f, '"');
    return 0;
}

static int end_string(struct framer *f, struct error *err) {
    f->in_string = false;
    if (f->string_is_key) {
        f->expect = EXPECT_COLON;
        return 0;
    }
    return end_value(f, err);
}

/* The inside of a string, as much as is there: the bulk of every document, so it is moved in runs. */
static size_t take_string(struct framer *f, const char *data, size_t len) {
    size_t n = 0;
    while (n < len) {
        char c = data[n];
        if (f->escaped) {
            f->escaped = false;
        } else if (c == '\\') {
            f->escaped = true;
        } else if (c == '"') {
            break;
        }
        n++;
    }
    if (f->out)
        strbuf_add(f->out, data, n);
    if (f->string_is_key) {
        size_t room = KEY_MAX - (f->key_len < KEY_MAX ? f->key_len : KEY_MAX);
        memcpy(f->key + (f->key_len < KEY_MAX ? f->key_len : KEY_MAX), data, n < room ? n : room);
        f->key_len += n;
    }
    return n;
}

static bool is_scalar_char(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '+' ||
           c == '.';
}

static int take_structure(struct framer *f, char c, struct error *err) {
    switch (c) {
    case ' ':
    case '\t':
    case '\n':
    case '\r':
        return 0;
    case '{':
    case '[':
        if (f->expect != EXPECT_VALUE && f->expect != EXPECT_FIRST_VALUE)
            return unexpected(f, (unsigned char)c, err);
        return open_container(f, c, err);
    case '}':
    case ']':
        return close_container(f, c, err);
    case '"':
        return start_string(f, err);
    case ':':
        if (f->expect != EXPECT_COLON)
            return unexpected(f, (unsigned char)c, err);
        f->expect = EXPECT_VALUE;
        put(f, c);
        return 0;
    case ',':
        if (f->expect != EXPECT_COMMA)
            return unexpected(f, (unsigned char)c, err);
        f->expect = f->levels[f->depth - 1].closer == '}' ? EXPECT_KEY : EXPECT_VALUE;
        put(f, c);
        return 0;
    default:
        if (!is_scalar_char(c) || f->depth == 0 || (f->expect != EXPECT_VALUE && f->expect != EXPECT_FIRST_VALUE))
            return unexpected(f, (unsigned char)c, err);
        redirect_if_wanted(f);
        start_item(f);
        /* Go writes an empty list that was never filled as null. */
        if (c == 'n' && role_above(f) == ROLE_ROOT && key_is(f, "items"))
            f->is_list = true;
        f->in_scalar = true;
        put(f, c);
        return 0;
    }
}

static int take_byte(struct framer *f, char c, struct error *err) {
    if (f->in_scalar) {
        if (is_scalar_char(c)) {
            put(f, c);
            return 0;
        }
        f->in_scalar = false;
        int result = end_value(f, err);
        if (result)
            return result;
    }
    return take_structure(f, c, err);
}

int framer_push(struct framer *f, const char *data, size_t len, struct error *err) {
    for (size_t at = 0; at < len;) {
        int result;
        if (f->in_string) {
            size_t n = take_string(f, data + at, len - at);
            at += n;
            f->offset += n;
            if (at == len)
                break;
            put(f, '"');
            result = end_string(f, err);
        } else {
            result = take_byte(f, data[at], err);
        }
        if (result)
            return result;
        at++;
        f->offset++;
    }
    return 0;
}

int framer_end(struct framer *f, struct error *err) {
    if (f->depth == 0)
        return 0;
    return error_set(err, ERROR_FORMAT, "the JSON ends in the middle, after %llu bytes", (unsigned long long)f->offset);
}
