#include "decode.h"

#include "schema.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { WIRE_VARINT = 0, WIRE_BYTES = 2, FIELD_MAX = 1000, TIME_SIZE = 32 };

struct cursor {
    const unsigned char *at;
    const unsigned char *end;
};

/* A field: its number, and either a number or bytes. Kubernetes uses no other wire types. */
struct field {
    unsigned number;
    uint64_t value;
    struct cursor bytes; /* at NULL: it is a number */
};

static bool varint_read(struct cursor *c, uint64_t *ret) {
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64 && c->at < c->end; shift += 7) {
        unsigned char byte = *c->at++;

        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static bool field_read(struct cursor *c, struct field *ret) {
    uint64_t tag;

    *ret = (struct field){0};
    if (!varint_read(c, &tag) || tag >> 3 == 0 || tag >> 3 > FIELD_MAX || !varint_read(c, &ret->value))
        return false;
    ret->number = (unsigned)(tag >> 3);
    if ((tag & 7) == WIRE_VARINT)
        return true;
    if ((tag & 7) != WIRE_BYTES || ret->value > (uint64_t)(c->end - c->at))
        return false;
    ret->bytes = (struct cursor){c->at, c->at + ret->value};
    c->at += ret->value;
    return true;
}

/* The field of that number in a small message of the reader's own; false when it is not there, or malformed. */
static bool field_find(struct cursor c, unsigned number, struct field *ret) {
    while (c.at < c.end && field_read(&c, ret)) {
        if (ret->number == number)
            return true;
    }
    return false;
}

static json_t *text_of(struct cursor c) {
    return json_stringn((const char *)c.at, (size_t)(c.end - c.at));
}

static json_t *text_at(struct cursor c, unsigned number) {
    struct field field;

    return field_find(c, number, &field) && field.bytes.at ? text_of(field.bytes) : json_string("");
}

/* null for the zero time. */
static json_t *time_of(struct cursor c) {
    struct field seconds;
    struct tm tm;
    char text[TIME_SIZE];
    time_t t;

    if (c.at == c.end)
        return json_null();
    t = field_find(c, 1, &seconds) ? (time_t)seconds.value : 0;
    if (!gmtime_r(&t, &tm) || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        return NULL;
    return json_string(text);
}

static json_t *int_or_string_of(struct cursor c) {
    struct field field;

    if (field_find(c, 1, &field) && field.value == 1)
        return text_at(c, 3);
    return json_integer(field_find(c, 2, &field) ? (json_int_t)field.value : 0);
}

static json_t *raw_json_of(struct cursor c) {
    struct field field;

    return field_find(c, 1, &field) && field.bytes.at
                   ? json_loadb((const char *)field.bytes.at, (size_t)field.value, JSON_DECODE_ANY, NULL)
                   : NULL;
}

static bool message_take(json_t *object, struct cursor c, const struct proto_field *fields);

/* A new reference; NULL: malformed. */
static json_t *value_of(const struct proto_field *known, const struct field *field) {
    bool is_number = known->type == PROTO_INT32 || known->type == PROTO_INT64 || known->type == PROTO_BOOL;
    json_t *object;

    if (is_number != !field->bytes.at)
        return NULL;
    switch (known->type) {
    case PROTO_STRING:
        return text_of(field->bytes);
    case PROTO_INT32:
    case PROTO_INT64:
        return json_integer((json_int_t)field->value);
    case PROTO_BOOL:
        return json_boolean(field->value != 0);
    case PROTO_TIME:
        return time_of(field->bytes);
    case PROTO_QUANTITY:
        return text_at(field->bytes, 1);
    case PROTO_INT_OR_STRING:
        return int_or_string_of(field->bytes);
    case PROTO_RAW_JSON:
        return raw_json_of(field->bytes);
    case PROTO_MESSAGE:
        break;
    }
    object = json_object();
    if (message_take(object, field->bytes, known->inner))
        return object;
    json_decref(object);
    return NULL;
}

static bool is_zero(const json_t *value) {
    return json_is_null(value) || json_is_false(value) || (json_is_string(value) && json_string_length(value) == 0) ||
           (json_is_integer(value) && json_integer_value(value) == 0);
}

/* The array or object of this name, made when it is not there yet. Borrowed. */
static json_t *member(json_t *object, const char *key, json_t *(*make)(void)) {
    if (!json_object_get(object, key))
        json_object_set_new(object, key, make());
    return json_object_get(object, key);
}

static bool map_take(json_t *object, const struct proto_field *known, struct cursor entry) {
    json_t *key = text_at(entry, 1);
    struct field field = {.bytes = entry};
    json_t *value = NULL;
    bool good;

    if (!field_find(entry, 2, &field))
        value = json_string("");
    else
        value = value_of(known, &field);
    good = key && value &&
           json_object_setn_new(member(object, known->key, json_object), json_string_value(key),
                   json_string_length(key), json_incref(value)) == 0;
    json_decref(key);
    json_decref(value);
    return good;
}

static bool field_take(json_t *object, const struct proto_field *known, const struct field *field) {
    json_t *value;

    if (known->shape == PROTO_INLINE)
        return field->bytes.at && message_take(object, field->bytes, known->inner);
    if (known->shape == PROTO_MAP)
        return field->bytes.at && map_take(object, known, field->bytes);
    value = value_of(known, field);
    if (!value)
        return false;
    if (known->shape == PROTO_LIST)
        return json_array_append_new(member(object, known->key, json_array), value) == 0;
    if (known->shape != PROTO_POINTER && is_zero(value)) {
        json_decref(value);
        return true;
    }
    return json_object_set_new(object, known->key, value) == 0;
}

/* Adds to object. Its kinds nest as deep as the tables do, and so does this. */
static bool message_take(json_t *object, struct cursor c, const struct proto_field *fields) {
    while (c.at < c.end) {
        const struct proto_field *known = fields;
        struct field field;

        if (!field_read(&c, &field))
            return false;
        while (known->key && known->number != field.number)
            known++;
        if (!known->key || !field_take(object, known, &field))
            return false;
    }
    return true;
}

json_t *proto_decode_object(const char *data, size_t length) {
    struct cursor c = {(const unsigned char *)data + 4, (const unsigned char *)data + length};
    struct field type;
    struct field raw;
    json_t *object = NULL;

    if (length < 4 || memcmp(data, "k8s", 4) != 0 || !field_find(c, 1, &type) || !type.bytes.at ||
            !field_find(c, 2, &raw) || !raw.bytes.at)
        return NULL;
    json_t *api_version = text_at(type.bytes, 1);
    json_t *kind = text_at(type.bytes, 2);
    const struct proto_field *fields = kind ? proto_schema(json_string_value(kind)) : NULL;

    if (fields && api_version) {
        object = json_object();
        json_object_set(object, "kind", kind);
        json_object_set(object, "apiVersion", api_version);
        if (!message_take(object, raw.bytes, fields)) {
            json_decref(object);
            object = NULL;
        }
    }
    json_decref(kind);
    json_decref(api_version);
    return object;
}
