#include "base/protobuf.h"

#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"

#define SCRATCH_KEPT 65536 /* what a longer text took is given back */
#define FIELD_NUMBER_MAX 0x1fffffff

enum wire_type { WIRE_VARINT, WIRE_FIXED64, WIRE_LENGTH, WIRE_GROUP, WIRE_GROUP_END, WIRE_FIXED32 };

enum state { AT_MAGIC, AT_TAG, AT_NUMBER, AT_LENGTH, IN_TEXT, SKIPPING };

struct level {
    const struct protobuf_message *message;
    uint64_t end;  /* offset at which it ends */
    uint32_t seen; /* fields, by their place in the table */
    unsigned at;   /* in the table: writers go through it in order */
    unsigned id;
};

struct protobuf_reader {
    struct protobuf_visitor visitor;
    struct level levels[PROTOBUF_DEPTH_MAX];
    int depth; /* 0: the message is whole */
    enum state state;
    uint64_t offset;
    uint64_t value; /* of the number under way */
    unsigned shift;
    const struct protobuf_field *field; /* NULL: not wanted */
    uint64_t left;                      /* bytes of the magic, the text, or what is skipped */
    struct strbuf scratch;              /* the part of a text that has come */
};

struct protobuf_reader *protobuf_create(const struct protobuf_visitor *visitor, struct error *err) {
    struct protobuf_reader *r = calloc(1, sizeof *r);
    if (!r) {
        error_nomem(err);
        return NULL;
    }
    r->visitor = *visitor;
    strbuf_init(&r->scratch, PROTOBUF_TEXT_MAX);
    return r;
}

void protobuf_destroy(struct protobuf_reader *r) {
    if (!r)
        return;
    strbuf_finish(&r->scratch);
    free(r);
}

static int broken(const struct protobuf_reader *r, const char *why, struct error *err) {
    return error_set(err, ERROR_FORMAT, "not protobuf: %s at byte %llu", why, (unsigned long long)r->offset);
}

static struct level *top(struct protobuf_reader *r) {
    return &r->levels[r->depth - 1];
}

static void skip(struct protobuf_reader *r, uint64_t bytes) {
    r->left = bytes;
    r->state = SKIPPING;
}

static void enter(struct protobuf_reader *r, const struct protobuf_message *message, uint64_t end, unsigned id) {
    r->levels[r->depth++] = (struct level){.message = message, .end = end, .id = id};
    r->left = message->magic_len;
    r->state = r->left ? AT_MAGIC : AT_TAG;
}

void protobuf_begin(struct protobuf_reader *r, const struct protobuf_message *message, uint64_t length) {
    r->depth = 0;
    r->offset = r->value = 0;
    r->shift = 0;
    strbuf_clear(&r->scratch);
    enter(r, message, length, 0);
}

/* The next bytes of a number: 1 when it is whole, 0 when more must come. */
static int take_varint(struct protobuf_reader *r, const char **at, const char *end, uint64_t *ret, struct error *err) {
    uint64_t limit = top(r)->end;
    while (*at < end) {
        if (r->offset == limit)
            return broken(r, "a number goes past the end of its message", err);
        unsigned char byte = (unsigned char)*(*at)++;
        r->offset++;
        if (r->shift == 63 && byte > 1)
            return broken(r, "a number of more than 64 bits", err);
        r->value |= (uint64_t)(byte & 0x7f) << r->shift;
        if (!(byte & 0x80)) {
            *ret = r->value;
            r->value = 0;
            r->shift = 0;
            return 1;
        }
        r->shift += 7;
    }
    return 0;
}

static const struct protobuf_field *find_field(struct level *level, uint64_t number) {
    const struct protobuf_message *message = level->message;
    if (level->at > 0 && message->fields[level->at - 1].number >= number)
        level->at = 0;
    while (level->at < message->n_fields && message->fields[level->at].number < number)
        level->at++;
    const struct protobuf_field *field = message->fields + level->at;
    return level->at < message->n_fields && field->number == number ? field : NULL;
}

static int note_seen(struct protobuf_reader *r, struct error *err) {
    struct level *level = top(r);
    uint32_t bit = UINT32_C(1) << (r->field - level->message->fields);
    bool again = level->seen & bit;
    level->seen |= bit;
    return again && !r->field->repeated ? r->visitor.twice(r->visitor.arg, r->field->id, err) : 0;
}

static int start_field(struct protobuf_reader *r, uint64_t tag, struct error *err) {
    uint64_t number = tag >> 3;
    enum wire_type type = tag & 7;
    if (number == 0 || number > FIELD_NUMBER_MAX)
        return broken(r, "a field whose number is none", err);
    r->field = find_field(top(r), number);
    if (r->field && type != (r->field->kind == PROTOBUF_NUMBER ? WIRE_VARINT : WIRE_LENGTH))
        return broken(r, "a field of another type than it should have", err);
    switch (type) {
    case WIRE_VARINT:
        r->state = AT_NUMBER;
        break;
    case WIRE_LENGTH:
        r->state = AT_LENGTH;
        break;
    case WIRE_FIXED64:
    case WIRE_FIXED32:
        skip(r, type == WIRE_FIXED64 ? 8 : 4);
        if (r->left > top(r)->end - r->offset)
            return broken(r, "a number goes past the end of its message", err);
        break;
    case WIRE_GROUP:
    case WIRE_GROUP_END:
        return broken(r, "a group", err);
    default:
        return broken(r, "a wire type that does not exist", err);
    }
    return r->field ? note_seen(r, err) : 0;
}

static int tell_number(struct protobuf_reader *r, uint64_t value, struct error *err) {
    r->state = AT_TAG;
    return r->field ? r->visitor.number(r->visitor.arg, r->field->id, value, err) : 0;
}

static int open_message(struct protobuf_reader *r, uint64_t length, struct error *err) {
    const struct protobuf_message *message = r->field->message;
    unsigned id = r->field->id;
    int result = r->visitor.open(r->visitor.arg, id, &message, err);
    if (result)
        return result;
    if (!message) {
        skip(r, length);
        return 0;
    }
    if (r->depth == PROTOBUF_DEPTH_MAX)
        return error_set(err, ERROR_LIMIT, "protobuf nested deeper than %d at byte %llu", PROTOBUF_DEPTH_MAX,
                (unsigned long long)r->offset);
    if (length < message->magic_len)
        return broken(r, "a message that lacks its beginning", err);
    enter(r, message, r->offset + length, id);
    return 0;
}

static int start_value(struct protobuf_reader *r, uint64_t length, struct error *err) {
    if (length > PROTOBUF_LENGTH_MAX || length > top(r)->end - r->offset)
        return broken(r, "a length goes past the end of its message", err);
    if (!r->field) {
        skip(r, length);
        return 0;
    }
    if (r->field->kind == PROTOBUF_MESSAGE)
        return open_message(r, length, err);
    if (length > PROTOBUF_TEXT_MAX)
        return error_set(err, ERROR_LIMIT, "a text before byte %llu is larger than %u bytes",
                (unsigned long long)r->offset, PROTOBUF_TEXT_MAX);
    r->left = length;
    r->state = IN_TEXT;
    return 0;
}

static int tell_text(struct protobuf_reader *r, const char *text, size_t len, struct error *err) {
    r->state = AT_TAG;
    return r->visitor.text(r->visitor.arg, r->field->id, text, len, err);
}

/* As much of it as is there. What is there in one piece is not copied. */
static int take_text(struct protobuf_reader *r, const char **at, const char *end, struct error *err) {
    size_t n = (size_t)(end - *at) < r->left ? (size_t)(end - *at) : (size_t)r->left;
    const char *piece = *at;
    r->left -= n;
    r->offset += n;
    *at += n;
    if (r->left == 0 && r->scratch.len == 0)
        return tell_text(r, piece, n, err);
    strbuf_add(&r->scratch, piece, n);
    if (strbuf_failed(&r->scratch))
        return error_nomem(err);
    if (r->left > 0)
        return 0;
    int result = tell_text(r, strbuf_text(&r->scratch), r->scratch.len, err);
    if (r->scratch.len > SCRATCH_KEPT)
        strbuf_finish(&r->scratch);
    else
        strbuf_clear(&r->scratch);
    return result;
}

static void take_skipped(struct protobuf_reader *r, const char **at, const char *end) {
    size_t n = (size_t)(end - *at) < r->left ? (size_t)(end - *at) : (size_t)r->left;
    r->left -= n;
    r->offset += n;
    *at += n;
    if (r->left == 0)
        r->state = AT_TAG;
}

static int take_magic(struct protobuf_reader *r, const char **at, struct error *err) {
    const struct protobuf_message *message = top(r)->message;
    if (*(*at)++ != message->magic[message->magic_len - r->left])
        return broken(r, "a message that begins otherwise than it should", err);
    r->offset++;
    if (--r->left == 0)
        r->state = AT_TAG;
    return 0;
}

static int close_message(struct protobuf_reader *r, struct error *err) {
    unsigned id = top(r)->id;
    return --r->depth > 0 ? r->visitor.close(r->visitor.arg, id, err) : 0;
}

/* Whether something ends here, without any further byte. */
static bool ends_here(const struct protobuf_reader *r) {
    if (r->state == IN_TEXT || r->state == SKIPPING)
        return r->left == 0;
    return r->state == AT_TAG && r->shift == 0 && r->depth > 0 && r->levels[r->depth - 1].end == r->offset;
}

/* Whether nothing that is still to come of this message is wanted. */
static bool has_all(const struct level *level) {
    return level->message->once && level->seen == (UINT32_C(1) << level->message->n_fields) - 1;
}

/* A tag, a number or a length. */
static int take_number(struct protobuf_reader *r, const char **at, const char *end, struct error *err) {
    uint64_t value = 0;
    int result = take_varint(r, at, end, &value, err);
    if (result <= 0)
        return result;
    return r->state == AT_NUMBER   ? tell_number(r, value, err)
           : r->state == AT_LENGTH ? start_value(r, value, err)
                                   : start_field(r, value, err);
}

static int take(struct protobuf_reader *r, const char **at, const char *end, struct error *err) {
    switch (r->state) {
    case AT_TAG:
        if (ends_here(r))
            return close_message(r, err);
        if (r->depth == 0)
            return broken(r, "something follows its end", err);
        if (has_all(top(r)) && r->shift == 0) {
            skip(r, top(r)->end - r->offset);
            return 0;
        }
        return take_number(r, at, end, err);
    case AT_NUMBER:
    case AT_LENGTH:
        return take_number(r, at, end, err);
    case IN_TEXT:
        return take_text(r, at, end, err);
    case SKIPPING:
        take_skipped(r, at, end);
        return 0;
    case AT_MAGIC:
        return take_magic(r, at, err);
    }
    return 0;
}

int protobuf_push(struct protobuf_reader *r, const char *data, size_t len, struct error *err) {
    const char *at = data, *end = data + len;
    int result = 0;
    while (result == 0 && (at < end || ends_here(r)))
        result = take(r, &at, end, err);
    return result;
}

int protobuf_end(struct protobuf_reader *r, struct error *err) {
    bool between = r->depth == 1 && r->state == AT_TAG && r->shift == 0;
    if (r->depth == 0 || (between && top(r)->end == PROTOBUF_TO_THE_END))
        return 0;
    return error_set(
            err, ERROR_FORMAT, "the protobuf ends in the middle, after %llu bytes", (unsigned long long)r->offset);
}
