#include "sim_proto.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum field_type {
    FIELD_STRING,
    FIELD_STRINGS,
    FIELD_INT,
    FIELD_BOOL,
    FIELD_MAP,
    FIELD_MESSAGE,
    FIELD_MESSAGES,
    FIELD_SKIP
};

struct field {
    unsigned number;
    enum field_type type;
    const char *name;
    const struct field *inner; /* of messages */
};

/* Numbers from the generated.proto files of k8s.io/api; each table ends with number 0. */
static const struct field nothing[] = {{0}};

static const struct field meta[] = {{1, FIELD_STRING, "name", NULL}, {2, FIELD_STRING, "generateName", NULL},
        {3, FIELD_STRING, "namespace", NULL}, {4, FIELD_SKIP, NULL, NULL}, {5, FIELD_STRING, "uid", NULL},
        {6, FIELD_STRING, "resourceVersion", NULL}, {7, FIELD_SKIP, NULL, NULL}, {8, FIELD_SKIP, NULL, NULL},
        {11, FIELD_MAP, "labels", NULL}, {12, FIELD_MAP, "annotations", NULL}, {14, FIELD_STRINGS, "finalizers", NULL},
        {0}};

static const struct field namespace_spec[] = {{1, FIELD_STRINGS, "finalizers", NULL}, {0}};
static const struct field namespace_object[] = {{1, FIELD_MESSAGE, "metadata", meta},
        {2, FIELD_MESSAGE, "spec", namespace_spec}, {3, FIELD_SKIP, NULL, NULL}, {0}};

static const struct field container[] = {{1, FIELD_STRING, "name", NULL}, {2, FIELD_STRING, "image", NULL},
        {3, FIELD_STRINGS, "command", NULL}, {4, FIELD_STRINGS, "args", NULL}, {5, FIELD_STRING, "workingDir", NULL},
        {8, FIELD_MESSAGE, "resources", nothing}, {13, FIELD_STRING, "terminationMessagePath", NULL},
        {14, FIELD_STRING, "imagePullPolicy", NULL}, {16, FIELD_BOOL, "stdin", NULL},
        {17, FIELD_BOOL, "stdinOnce", NULL}, {18, FIELD_BOOL, "tty", NULL},
        {20, FIELD_STRING, "terminationMessagePolicy", NULL}, {0}};
static const struct field pod_spec[] = {{2, FIELD_MESSAGES, "containers", container},
        {3, FIELD_STRING, "restartPolicy", NULL}, {4, FIELD_INT, "terminationGracePeriodSeconds", NULL},
        {6, FIELD_STRING, "dnsPolicy", NULL}, {8, FIELD_STRING, "serviceAccountName", NULL},
        {9, FIELD_STRING, "serviceAccount", NULL}, {10, FIELD_STRING, "nodeName", NULL},
        {11, FIELD_BOOL, "hostNetwork", NULL}, {12, FIELD_BOOL, "hostPID", NULL}, {13, FIELD_BOOL, "hostIPC", NULL},
        {16, FIELD_STRING, "hostname", NULL}, {17, FIELD_STRING, "subdomain", NULL},
        {19, FIELD_STRING, "schedulerName", NULL}, {24, FIELD_STRING, "priorityClassName", NULL}, {0}};
static const struct field template[] = {
        {1, FIELD_MESSAGE, "metadata", meta}, {2, FIELD_MESSAGE, "spec", pod_spec}, {0}};
static const struct field job_spec[] = {{1, FIELD_INT, "parallelism", NULL}, {2, FIELD_INT, "completions", NULL},
        {3, FIELD_INT, "activeDeadlineSeconds", NULL}, {6, FIELD_MESSAGE, "template", template},
        {7, FIELD_INT, "backoffLimit", NULL}, {8, FIELD_INT, "ttlSecondsAfterFinished", NULL},
        {9, FIELD_STRING, "completionMode", NULL}, {10, FIELD_BOOL, "suspend", NULL}, {0}};
static const struct field job_object[] = {
        {1, FIELD_MESSAGE, "metadata", meta}, {2, FIELD_MESSAGE, "spec", job_spec}, {3, FIELD_SKIP, NULL, NULL}, {0}};

static const struct field resource_attributes[] = {{1, FIELD_STRING, "namespace", NULL},
        {2, FIELD_STRING, "verb", NULL}, {3, FIELD_STRING, "group", NULL}, {4, FIELD_STRING, "version", NULL},
        {5, FIELD_STRING, "resource", NULL}, {6, FIELD_STRING, "subresource", NULL}, {7, FIELD_STRING, "name", NULL},
        {0}};
static const struct field path_attributes[] = {{1, FIELD_STRING, "path", NULL}, {2, FIELD_STRING, "verb", NULL}, {0}};
static const struct field review_spec[] = {{1, FIELD_MESSAGE, "resourceAttributes", resource_attributes},
        {2, FIELD_MESSAGE, "nonResourceAttributes", path_attributes}, {0}};
static const struct field review_object[] = {{1, FIELD_MESSAGE, "metadata", meta},
        {2, FIELD_MESSAGE, "spec", review_spec}, {3, FIELD_SKIP, NULL, NULL}, {0}};

static const struct {
    const char *api_version;
    const char *kind;
    const struct field *fields;
} objects[] = {
        {"v1", "Namespace", namespace_object},
        {"batch/v1", "Job", job_object},
        {"authorization.k8s.io/v1", "SelfSubjectAccessReview", review_object},
};

static const struct field type_meta[] = {{1, FIELD_STRING, "apiVersion", NULL}, {2, FIELD_STRING, "kind", NULL}, {0}};
static const struct field map_entry[] = {{1, FIELD_STRING, "key", NULL}, {2, FIELD_STRING, "value", NULL}, {0}};

struct cursor {
    const unsigned char *at;
    const unsigned char *end;
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

/* One field: its number, and either a number or bytes. Other wire types are not used by Kubernetes. */
static bool field_read(struct cursor *c, unsigned *number, uint64_t *value, struct cursor *bytes) {
    uint64_t tag;

    if (!varint_read(c, &tag) || tag >> 3 == 0 || tag >> 3 > 1000 || !varint_read(c, value))
        return false;
    *number = (unsigned)(tag >> 3);
    *bytes = (struct cursor){NULL, NULL};
    if ((tag & 7) == 0)
        return true;
    if ((tag & 7) != 2 || *value > (uint64_t)(c->end - c->at))
        return false;
    *bytes = (struct cursor){c->at, c->at + *value};
    c->at += *value;
    return true;
}

static json_t *message_decode(struct cursor c, const struct field *fields);

static json_t *string_decode(struct cursor c) {
    return json_stringn((const char *)c.at, (size_t)(c.end - c.at));
}

/* The array of this name in object, made when it is not there yet. Borrowed. */
static json_t *array_in(json_t *object, const char *name) {
    if (!json_object_get(object, name))
        json_object_set_new(object, name, json_array());
    return json_object_get(object, name);
}

static bool map_take(json_t *object, const char *name, struct cursor bytes) {
    json_t *entry = message_decode(bytes, map_entry);
    const char *key = json_string_value(json_object_get(entry, "key"));
    const char *value = json_string_value(json_object_get(entry, "value"));

    if (key) {
        if (!json_object_get(object, name))
            json_object_set_new(object, name, json_object());
        json_object_set_new(json_object_get(object, name), key, json_string(value ? value : ""));
    }
    json_decref(entry);
    return key != NULL;
}

/* What is empty was not set: Go's omitempty, except for numbers, which are pointers in these types. */
static bool field_take(json_t *object, const struct field *field, uint64_t value, struct cursor bytes) {
    bool has_bytes = bytes.at != NULL;
    json_t *inner = NULL;

    if (field->type == FIELD_SKIP)
        return true;
    if (has_bytes == (field->type == FIELD_INT || field->type == FIELD_BOOL))
        return false;
    switch (field->type) {
    case FIELD_INT:
        return json_object_set_new(object, field->name, json_integer((json_int_t)value)) == 0;
    case FIELD_BOOL:
        return value == 0 || json_object_set_new(object, field->name, json_true()) == 0;
    case FIELD_STRING:
        return bytes.at == bytes.end || json_object_set_new(object, field->name, string_decode(bytes)) == 0;
    case FIELD_STRINGS:
        return json_array_append_new(array_in(object, field->name), string_decode(bytes)) == 0;
    case FIELD_MAP:
        return map_take(object, field->name, bytes);
    case FIELD_MESSAGE:
        inner = message_decode(bytes, field->inner);
        return inner && json_object_set_new(object, field->name, inner) == 0;
    case FIELD_MESSAGES:
        inner = message_decode(bytes, field->inner);
        return inner && json_array_append_new(array_in(object, field->name), inner) == 0;
    case FIELD_SKIP:
        break;
    }
    return true;
}

/* The tables nest a fixed few levels, and so does this. */
static json_t *message_decode(struct cursor c, const struct field *fields) {
    json_t *object = json_object();

    while (c.at < c.end) {
        struct cursor bytes;
        unsigned number;
        uint64_t value;
        const struct field *field = fields;
        bool good = field_read(&c, &number, &value, &bytes);

        while (good && field->number && field->number != number)
            field++;
        if (!good || !field->number || !field_take(object, field, value, bytes)) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

json_t *sim_proto_decode(const char *data, size_t length) {
    struct cursor c = {(const unsigned char *)data, (const unsigned char *)data + length};
    struct cursor raw = {c.at, c.at};
    json_t *type = NULL;
    json_t *object = NULL;

    if (length < 4 || memcmp(data, "k8s", 4) != 0)
        return NULL;
    c.at += 4;
    while (c.at < c.end) {
        struct cursor bytes;
        unsigned number;
        uint64_t value;

        if (!field_read(&c, &number, &value, &bytes)) {
            json_decref(type);
            return NULL;
        }
        if (number == 1 && bytes.at && !type)
            type = message_decode(bytes, type_meta);
        else if (number == 2 && bytes.at)
            raw = bytes;
    }
    const char *api_version = json_string_value(json_object_get(type, "apiVersion"));
    const char *kind = json_string_value(json_object_get(type, "kind"));

    for (size_t i = 0; api_version && kind && i < sizeof(objects) / sizeof(objects[0]); i++) {
        if (strcmp(objects[i].api_version, api_version) == 0 && strcmp(objects[i].kind, kind) == 0)
            object = message_decode(raw, objects[i].fields);
    }
    if (object)
        json_object_update(object, type);
    json_decref(type);
    return object;
}
