#include "encode.h"

#include "schema.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { WIRE_VARINT = 0, WIRE_BYTES = 2, VARINT_SIZE = 10, FIRST_CAPACITY = 4096 };

const char proto_tail[PROTO_TAIL_LENGTH] = {3 << 3 | WIRE_BYTES, 0, 4 << 3 | WIRE_BYTES, 0};

/* Written from the end to the front, so that the length of a message is known when it comes to be written. */
struct writer {
    struct proto_encoder *enc; /* NULL where nothing can be refused */
    unsigned char *data;
    size_t capacity;
    size_t length; /* of what is written: the last bytes of data */
};

static void writer_add(struct writer *w, const void *data, size_t length) {
    if (length > w->capacity - w->length) {
        size_t capacity = w->capacity ? w->capacity : FIRST_CAPACITY;

        while (length > capacity - w->length)
            capacity *= 2;
        unsigned char *bigger = malloc(capacity);

        if (!bigger)
            abort();
        if (w->length)
            memcpy(bigger + capacity - w->length, w->data + w->capacity - w->length, w->length);
        free(w->data);
        w->data = bigger;
        w->capacity = capacity;
    }
    w->length += length;
    if (length)
        memcpy(w->data + w->capacity - w->length, data, length);
}

/* The bytes from the front on, in memory of their own; the writer is empty afterwards. */
static char *writer_take(struct writer *w, size_t *ret_length) {
    char *data = (char *)w->data;

    if (!data && !(data = malloc(1)))
        abort();
    if (w->length)
        memmove(data, data + w->capacity - w->length, w->length);
    *ret_length = w->length;
    *w = (struct writer){.enc = w->enc};
    return data;
}

static char *writer_end(struct writer *w, bool good, size_t *ret_length) {
    if (good)
        return writer_take(w, ret_length);
    free(w->data);
    return NULL;
}

static size_t varint_put(uint64_t value, unsigned char bytes[VARINT_SIZE]) {
    size_t n = 0;

    for (; value >= 0x80; value >>= 7)
        bytes[n++] = (unsigned char)(value | 0x80);
    bytes[n++] = (unsigned char)value;
    return n;
}

static void write_varint(struct writer *w, uint64_t value) {
    unsigned char bytes[VARINT_SIZE];

    writer_add(w, bytes, varint_put(value, bytes));
}

static void write_tag(struct writer *w, unsigned number, unsigned wire) {
    write_varint(w, (uint64_t)number << 3 | wire);
}

static void write_number(struct writer *w, unsigned number, int64_t value) {
    write_varint(w, (uint64_t)value);
    write_tag(w, number, WIRE_VARINT);
}

static void write_bytes(struct writer *w, unsigned number, const void *data, size_t length) {
    writer_add(w, data, length);
    write_varint(w, length);
    write_tag(w, number, WIRE_BYTES);
}

static void write_text(struct writer *w, unsigned number, const char *text) {
    write_bytes(w, number, text, strlen(text));
}

/* What was written since `from` is the inside of this field. */
static void write_head(struct writer *w, unsigned number, size_t from) {
    write_varint(w, w->length - from);
    write_tag(w, number, WIRE_BYTES);
}

/* Said from the inside out: "template: ", then "spec.template: ". */
static bool refuse(struct writer *w, const char *key) {
    char inner[PROTO_WHY_SIZE];
    struct proto_encoder *enc = w->enc;

    memcpy(inner, enc->why, sizeof(inner));
    (void)snprintf(enc->why, sizeof(enc->why), "%.40s%s%.150s", key, *inner == ':' || !*inner ? "" : ".",
            *inner ? inner : ": cannot be said in protobuf");
    return false;
}

static bool write_message(struct writer *w, const struct proto_field *fields, const json_t *object);

/* RFC 3339 with whole seconds; the zero time, and none at all, is an empty message. */
static bool time_read(const json_t *value, bool *ret_zero, int64_t *ret_s) {
    struct tm tm = {0};
    const char *text = json_string_value(value);
    const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    int hours = 0;
    int minutes = 0;
    int length = 0;
    char sign = '+';

    *ret_zero = !value || json_is_null(value) || (text && strcmp(text, "0001-01-01T00:00:00Z") == 0);
    if (*ret_zero)
        return true;
    if (end && end[0] == '.' && strspn(end + 1, "0") > 0)
        end += 1 + strspn(end + 1, "0");
    if (!end || end - text < 19)
        return false;
    if (strcmp(end, "Z") != 0 &&
            (sscanf(end, "%1c%2d:%2d%n", &sign, &hours, &minutes, &length) != 3 || end[length] || !strchr("+-", sign)))
        return false;
    *ret_s = timegm(&tm) - (sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

static bool write_time(struct writer *w, unsigned number, const json_t *value) {
    size_t from = w->length;
    bool zero;
    int64_t seconds = 0;

    if (!time_read(value, &zero, &seconds))
        return false;
    if (!zero) {
        write_number(w, 2, 0);
        write_number(w, 1, seconds);
    }
    write_head(w, number, from);
    return true;
}

static bool write_quantity(struct writer *w, unsigned number, const json_t *value) {
    size_t from = w->length;

    if (value && !json_is_string(value))
        return false;
    write_text(w, 1, value ? json_string_value(value) : "0");
    write_head(w, number, from);
    return true;
}

static bool write_int_or_string(struct writer *w, unsigned number, const json_t *value) {
    size_t from = w->length;
    bool is_text = json_is_string(value);
    json_int_t n = json_integer_value(value);

    if (value && !is_text && (!json_is_integer(value) || n < INT32_MIN || n > INT32_MAX))
        return false;
    write_text(w, 3, is_text ? json_string_value(value) : "");
    write_number(w, 2, n);
    write_number(w, 1, is_text);
    write_head(w, number, from);
    return true;
}

static bool write_raw_json(struct writer *w, unsigned number, const json_t *value) {
    size_t from = w->length;
    json_int_t index = json_integer_value(value);

    if (json_is_integer(value)) {
        if (index < 0 || (size_t)index >= w->enc->text_count)
            return false;
        write_bytes(w, 1, w->enc->texts[index].data, w->enc->texts[index].length);
    } else {
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

        if (!text)
            abort();
        write_text(w, 1, text);
        free(text);
    }
    write_head(w, number, from);
    return true;
}

static bool write_integer(struct writer *w, const struct proto_field *field, const json_t *value) {
    json_int_t n = json_integer_value(value);

    if (value && !json_is_integer(value))
        return false;
    if (field->type == PROTO_INT32 && (n < INT32_MIN || n > INT32_MAX))
        return false;
    write_number(w, field->number, n);
    return true;
}

/* One value under this number; NULL: the zero value. Go's JSON decoder takes null for that, too. */
static bool write_value(struct writer *w, const struct proto_field *field, unsigned number, const json_t *value) {
    struct proto_field numbered = *field;
    size_t from = w->length;

    numbered.number = number;
    if (json_is_null(value))
        value = NULL;
    switch (field->type) {
    case PROTO_STRING:
        if (value && !json_is_string(value))
            return false;
        write_bytes(w, number, value ? json_string_value(value) : "", value ? json_string_length(value) : 0);
        return true;
    case PROTO_INT32:
    case PROTO_INT64:
        return write_integer(w, &numbered, value);
    case PROTO_BOOL:
        if (value && !json_is_boolean(value))
            return false;
        write_number(w, number, json_is_true(value));
        return true;
    case PROTO_MESSAGE:
        if (!write_message(w, field->inner, value))
            return false;
        write_head(w, number, from);
        return true;
    case PROTO_TIME:
        return write_time(w, number, value);
    case PROTO_QUANTITY:
        return write_quantity(w, number, value);
    case PROTO_INT_OR_STRING:
        return write_int_or_string(w, number, value);
    case PROTO_RAW_JSON:
        return write_raw_json(w, number, value);
    }
    return false;
}

static bool write_list(struct writer *w, const struct proto_field *field, const json_t *value) {
    if (value && !json_is_null(value) && !json_is_array(value))
        return false;
    for (size_t i = json_array_size(value); i > 0; i--) {
        if (!write_value(w, field, field->number, json_array_get(value, i - 1)))
            return false;
    }
    return true;
}

static int key_compare(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool write_map(struct writer *w, const struct proto_field *field, json_t *value) {
    size_t count = json_object_size(value);
    const char **keys = calloc(count ? count : 1, sizeof(*keys));
    const char *key;
    json_t *inner;
    bool good = !value || json_is_null(value) || json_is_object(value);

    if (!keys)
        abort();
    count = 0;
    json_object_foreach (value, key, inner)
        keys[count++] = key;
    qsort(keys, count, sizeof(*keys), key_compare);
    for (size_t i = count; good && i > 0; i--) {
        size_t from = w->length;

        good = write_value(w, field, 2, json_object_get(value, keys[i - 1])) || refuse(w, keys[i - 1]);
        write_text(w, 1, keys[i - 1]);
        write_head(w, field->number, from);
    }
    free(keys);
    return good;
}

static bool field_always(const struct writer *w, const struct proto_field *field) {
    return field->shape == PROTO_ALWAYS || (field->shape == PROTO_SINCE_21 && w->enc->server == PROTO_SERVER_CURRENT) ||
           (field->shape == PROTO_UNTIL_23 && w->enc->server == PROTO_SERVER_1_20);
}

static bool write_inline(struct writer *w, const struct proto_field *fields, const json_t *object);

static bool write_field(struct writer *w, const struct proto_field *field, const json_t *object) {
    json_t *value = json_object_get(object, field->key);
    size_t from = w->length;

    switch (field->shape) {
    case PROTO_TYPE:
        return !value || json_is_string(value);
    case PROTO_LIST:
        return write_list(w, field, value);
    case PROTO_MAP:
        return write_map(w, field, value);
    case PROTO_INLINE:
        if (!write_inline(w, field->inner, object))
            return false;
        write_head(w, field->number, from);
        return true;
    case PROTO_ALWAYS:
    case PROTO_SINCE_21:
    case PROTO_UNTIL_23:
    case PROTO_POINTER:
        break;
    }
    if (!field_always(w, field) && (!value || json_is_null(value)))
        return true;
    return write_value(w, field, field->number, value);
}

/* The fields, whatever else there may be in the object. */
static bool write_inline(struct writer *w, const struct proto_field *fields, const json_t *object) {
    const struct proto_field *end = fields;

    while (end->key)
        end++;
    while (end > fields) {
        end--;
        if (!write_field(w, end, object))
            return end->shape == PROTO_INLINE ? false : refuse(w, end->key);
    }
    return true;
}

static bool fields_know(const struct proto_field *fields, const char *key) {
    for (; fields->key; fields++) {
        if (fields->shape == PROTO_INLINE ? fields_know(fields->inner, key) : strcmp(fields->key, key) == 0)
            return true;
    }
    return false;
}

/* The inside of a message. Its kinds nest as deep as the tables do, and so does this. */
static bool write_message(struct writer *w, const struct proto_field *fields, const json_t *object) {
    const char *key;
    json_t *value;

    if (object && !json_is_object(object))
        return false;
    json_object_foreach ((json_t *)object, key, value) {
        if (!fields_know(fields, key))
            return refuse(w, key);
    }
    return write_inline(w, fields, object);
}

/* runtime.Unknown around what was written, without its tail, and the magic bytes. */
static void write_envelope(struct writer *w, const char *api_version, const char *kind, size_t raw_length) {
    size_t from;

    write_varint(w, raw_length);
    write_tag(w, 2, WIRE_BYTES);
    from = w->length;
    write_text(w, 2, kind);
    write_text(w, 1, api_version);
    write_head(w, 1, from);
    writer_add(w, "k8s", 4);
}

/* metav1.WatchEvent around what was written and what is still to come, and the frame's length. */
static void write_event(struct writer *w, const char *type, size_t to_come) {
    size_t length = w->length + to_come;

    write_varint(w, length);
    write_tag(w, 1, WIRE_BYTES); /* RawExtension.raw */
    write_varint(w, w->length + to_come);
    write_tag(w, 2, WIRE_BYTES);
    write_text(w, 1, type);
    length = w->length + to_come;
    writer_add(w,
            (unsigned char[]){(unsigned char)(length >> 24), (unsigned char)(length >> 16),
                    (unsigned char)(length >> 8), (unsigned char)length},
            4);
}

static bool write_object(struct writer *w, const json_t *object) {
    const char *kind = json_string_value(json_object_get(object, "kind"));
    const char *api_version = json_string_value(json_object_get(object, "apiVersion"));
    const struct proto_field *fields = kind ? proto_schema(kind) : NULL;
    size_t from;

    if (!fields || !api_version)
        return refuse(w, "kind");
    writer_add(w, proto_tail, sizeof(proto_tail));
    from = w->length;
    if (!write_message(w, fields, object))
        return false;
    write_envelope(w, api_version, kind, w->length - from);
    return true;
}

char *proto_encode_message(struct proto_encoder *enc, const char *kind, const json_t *object, size_t *ret_length) {
    struct writer w = {.enc = enc};
    const struct proto_field *fields = proto_schema(kind);

    enc->why[0] = '\0';
    return writer_end(&w, fields ? write_message(&w, fields, object) : refuse(&w, "kind"), ret_length);
}

char *proto_encode_object(struct proto_encoder *enc, const json_t *object, size_t *ret_length) {
    struct writer w = {.enc = enc};

    enc->why[0] = '\0';
    return writer_end(&w, write_object(&w, object), ret_length);
}

char *proto_encode_event(struct proto_encoder *enc, const json_t *event, size_t *ret_length) {
    struct writer w = {.enc = enc};
    const char *type = json_string_value(json_object_get(event, "type"));
    bool good;

    enc->why[0] = '\0';
    good = (type && json_object_size(event) == 2) || refuse(&w, "type");
    good = good && write_object(&w, json_object_get(event, "object"));
    if (good)
        write_event(&w, type, 0);
    return writer_end(&w, good, ret_length);
}

size_t proto_item_head(size_t length, char ret_head[PROTO_ITEM_HEAD_SIZE]) {
    ret_head[0] = 2 << 3 | WIRE_BYTES;
    return 1 + varint_put(length, (unsigned char *)ret_head + 1);
}

char *proto_list_head(struct proto_encoder *enc, const char *api_version, const char *kind, const json_t *metadata,
        size_t length, size_t *ret_length) {
    struct writer w = {.enc = enc};
    json_t *list = json_pack("{s:O}", "metadata", metadata);
    const struct proto_field *fields = proto_schema(kind);
    bool good;

    enc->why[0] = '\0';
    good = fields ? write_message(&w, fields, list) : refuse(&w, "kind");
    json_decref(list);
    if (good)
        write_envelope(&w, api_version, kind, w.length + length);
    return writer_end(&w, good, ret_length);
}

char *proto_object_head(const char *api_version, const char *kind, size_t length, size_t *ret_length) {
    struct writer w = {0};

    write_envelope(&w, api_version, kind, length);
    return writer_take(&w, ret_length);
}

char *proto_event_head(const char *type, const char *api_version, const char *kind, size_t length, size_t *ret_length) {
    struct writer w = {0};

    write_envelope(&w, api_version, kind, length);
    write_event(&w, type, length + PROTO_TAIL_LENGTH);
    return writer_take(&w, ret_length);
}

/* ---- what is asked for ---- */

enum { ACCEPT_LIMIT = 1024 };

/* "a/b;q=0.5;x=y": its q, and whether it is of this type. */
static double range_quality(const char *range) {
    const char *q = strstr(range, "q=");
    char *end = NULL;
    double value = q && q > range && strchr("; ", q[-1]) ? strtod(q + 2, &end) : 1;

    return value >= 0 && value <= 1 ? value : 0;
}

static bool range_is(const char *range, const char *type) {
    size_t length = strlen(type);

    return strncasecmp(range, type, length) == 0 && strchr("; \t", range[length]);
}

bool proto_is_preferred(const char *accept) {
    char copy[ACCEPT_LIMIT];
    char *rest = copy;
    double best = 0;
    bool protobuf = false;

    if (!accept || strlen(accept) >= sizeof(copy))
        return false;
    memcpy(copy, accept, strlen(accept) + 1);
    for (char *range = strsep(&rest, ","); range; range = strsep(&rest, ",")) {
        range += strspn(range, " \t");
        bool is_protobuf = range_is(range, PROTO_CONTENT_TYPE);
        bool is_json =
                range_is(range, "application/json") || range_is(range, "*/*") || range_is(range, "application/*");

        if ((is_protobuf || (is_json && !strstr(range, "as="))) && range_quality(range) > best) {
            best = range_quality(range);
            protobuf = is_protobuf;
        }
    }
    return protobuf;
}
