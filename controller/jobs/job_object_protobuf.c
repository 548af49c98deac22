#include "jobs/job_object_protobuf.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "jobs/job_object.h"

#define CHUNK_BYTES 8192                 /* holds the texts of most Jobs */
#define LIST_FIRST 8                     /* entries */
#define MEMORY_KEPT 65536                /* from one Job to the next */
#define TIME_MIN_S INT64_C(-62135596800) /* 0001-01-01: Go's zero time */
#define TIME_MAX_S INT64_C(253402300799) /* 9999-12-31T23:59:59: RFC 3339 ends there */

enum id {
    ID_METADATA = PROTOBUF_CODEC_IDS,
    ID_SPEC,
    ID_STATUS,
    ID_NAME,
    ID_NAMESPACE,
    ID_UID,
    ID_VERSION,
    ID_CREATED,
    ID_DELETED,
    ID_LABEL,
    ID_ANNOTATION,
    ID_PAIR_KEY,
    ID_PAIR_VALUE,
    ID_OWNER,
    ID_OWNER_KIND,
    ID_OWNER_NAME,
    ID_OWNER_UID,
    ID_OWNER_API,
    ID_OWNER_CONTROLLER,
    ID_FINALIZER,
    ID_SECONDS,
    ID_NANOS,
    ID_PARALLELISM,
    ID_COMPLETIONS,
    ID_TEMPLATE,
    ID_BACKOFF_LIMIT,
    ID_TTL,
    ID_COMPLETION_MODE,
    ID_POD_SPEC,
    ID_CONTAINER,
    ID_INIT_CONTAINER,
    ID_IMAGE,
    ID_CONDITION,
    ID_CONDITION_TYPE,
    ID_CONDITION_STATUS,
    ID_TRANSITION,
    ID_REASON,
    ID_MESSAGE,
    ID_STARTED,
    ID_COMPLETED,
    ID_SUCCEEDED,
    ID_FAILED,
    ID_COMPLETED_INDEXES,
    ID_FAILED_INDEXES
};

/* ---- the fields: kubernetes/api batch/v1 and core/v1, kubernetes/apimachinery meta/v1, generated.proto ---- */

#define TEXT(number_, id_) \
    { .number = (number_), .kind = PROTOBUF_TEXT, .id = (id_) }
#define TEXTS(number_, id_) \
    { .number = (number_), .kind = PROTOBUF_TEXT, .id = (id_), .repeated = true }
#define NUMBER(number_, id_) \
    { .number = (number_), .kind = PROTOBUF_NUMBER, .id = (id_) }
#define ONE(number_, id_, message_) \
    { .number = (number_), .kind = PROTOBUF_MESSAGE, .id = (id_), .message = &(message_) }
#define MANY(number_, id_, message_) \
    { .number = (number_), .kind = PROTOBUF_MESSAGE, .id = (id_), .message = &(message_), .repeated = true }
#define MESSAGE(name, ...) \
    static const struct protobuf_field name##_fields[] = {__VA_ARGS__}; \
    _Static_assert(sizeof name##_fields / sizeof name##_fields[0] <= PROTOBUF_FIELDS_MAX, "too many fields"); \
    static const struct protobuf_message name = { \
            .fields = name##_fields, .n_fields = sizeof name##_fields / sizeof name##_fields[0]}

MESSAGE(time_message, NUMBER(1, ID_SECONDS), NUMBER(2, ID_NANOS));
MESSAGE(pair_message, TEXT(1, ID_PAIR_KEY), TEXT(2, ID_PAIR_VALUE));
MESSAGE(owner_message, TEXT(1, ID_OWNER_KIND), TEXT(3, ID_OWNER_NAME), TEXT(4, ID_OWNER_UID), TEXT(5, ID_OWNER_API),
        NUMBER(6, ID_OWNER_CONTROLLER));
MESSAGE(metadata_message, TEXT(1, ID_NAME), TEXT(3, ID_NAMESPACE), TEXT(5, ID_UID), TEXT(6, ID_VERSION),
        ONE(8, ID_CREATED, time_message), ONE(9, ID_DELETED, time_message), MANY(11, ID_LABEL, pair_message),
        MANY(12, ID_ANNOTATION, pair_message), MANY(13, ID_OWNER, owner_message), TEXTS(14, ID_FINALIZER));
/* What follows the image may be thousands of variables. */
static const struct protobuf_field container_fields[] = {TEXT(2, ID_IMAGE)};
static const struct protobuf_message container_message = {.fields = container_fields, .n_fields = 1, .once = true};
MESSAGE(pod_spec_message, MANY(2, ID_CONTAINER, container_message), MANY(20, ID_INIT_CONTAINER, container_message));
MESSAGE(template_message, ONE(2, ID_POD_SPEC, pod_spec_message));
MESSAGE(spec_message, NUMBER(1, ID_PARALLELISM), NUMBER(2, ID_COMPLETIONS), ONE(6, ID_TEMPLATE, template_message),
        NUMBER(7, ID_BACKOFF_LIMIT), NUMBER(8, ID_TTL), TEXT(9, ID_COMPLETION_MODE));
MESSAGE(condition_message, TEXT(1, ID_CONDITION_TYPE), TEXT(2, ID_CONDITION_STATUS),
        ONE(4, ID_TRANSITION, time_message), TEXT(5, ID_REASON), TEXT(6, ID_MESSAGE));
MESSAGE(status_message, MANY(1, ID_CONDITION, condition_message), ONE(2, ID_STARTED, time_message),
        ONE(3, ID_COMPLETED, time_message), NUMBER(5, ID_SUCCEEDED), NUMBER(6, ID_FAILED),
        TEXT(7, ID_COMPLETED_INDEXES), TEXT(10, ID_FAILED_INDEXES));
MESSAGE(job_message, ONE(1, ID_METADATA, metadata_message), ONE(2, ID_SPEC, spec_message),
        ONE(3, ID_STATUS, status_message));

/* ---- memory ---- */

struct chunk {
    struct chunk *next;
    size_t used, room;
    char text[];
};

/* Entries of one size that grow as they come. */
struct list {
    void *entries;
    size_t n, room;
};

struct builder {
    struct job_object object;
    struct chunk *chunks; /* the one in use first */
    struct list labels, annotations, owners, conditions, images, init_images;
    size_t bytes;    /* what they all take */
    const char *odd; /* why this Job is not what a server would send; NULL: it is */
    struct strbuf repaired;
    struct job_pair pair;
    struct job_owner owner;
    struct job_condition condition;
    struct job_text image;
    int64_t seconds, nanos;
};

/* Of the sum of all that a Job takes. */
static int note_bytes(struct builder *b, size_t bytes, struct error *err) {
    if (bytes > JOB_PROTOBUF_MEMORY_MAX - b->bytes)
        return error_set(err, ERROR_LIMIT, "a Job takes more than %u bytes", JOB_PROTOBUF_MEMORY_MAX);
    b->bytes += bytes;
    return 0;
}

static struct chunk *add_chunk(struct builder *b, size_t at_least, struct error *err) {
    size_t room = at_least > CHUNK_BYTES ? at_least : CHUNK_BYTES;
    if (note_bytes(b, sizeof(struct chunk) + room, err) < 0)
        return NULL;
    struct chunk *chunk = malloc(sizeof *chunk + room);
    if (!chunk) {
        error_nomem(err);
        return NULL;
    }
    *chunk = (struct chunk){.next = b->chunks, .room = room};
    b->chunks = chunk;
    return chunk;
}

static void free_chunks(struct chunk *chunk) {
    for (struct chunk *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
}

/* A copy that lives as long as the object, with a NUL behind it. */
static int copy_text(struct builder *b, const char *text, size_t len, struct job_text *ret, struct error *err) {
    struct chunk *chunk = b->chunks;
    if ((!chunk || chunk->room - chunk->used <= len) && !(chunk = add_chunk(b, len + 1, err)))
        return -1;
    char *copy = chunk->text + chunk->used;
    if (len)
        memcpy(copy, text, len);
    copy[len] = '\0';
    chunk->used += len + 1;
    *ret = (struct job_text){copy, len};
    return 0;
}

static int keep_text(struct builder *b, const char *text, size_t len, struct job_text *ret, struct error *err) {
    if (text_is_utf8(text, len))
        return copy_text(b, text, len, ret, err);
    strbuf_clear(&b->repaired);
    text_add_repaired(&b->repaired, text, len);
    if (strbuf_failed(&b->repaired))
        return error_nomem(err);
    return copy_text(b, strbuf_text(&b->repaired), b->repaired.len, ret, err);
}

static int append(struct builder *b, struct list *list, const void *entry, size_t size, struct error *err) {
    if (list->n == list->room) {
        size_t room = list->room ? list->room * 2 : LIST_FIRST;
        if (note_bytes(b, (room - list->room) * size, err) < 0)
            return -1;
        void *entries = reallocarray(list->entries, room, size);
        if (!entries)
            return error_nomem(err);
        list->entries = entries;
        list->room = room;
    }
    memcpy((char *)list->entries + list->n++ * size, entry, size);
    return 0;
}

static void *create(struct error *err) {
    struct builder *b = calloc(1, sizeof *b);
    if (!b) {
        error_nomem(err);
        return NULL;
    }
    strbuf_init(&b->repaired, 3 * PROTOBUF_TEXT_MAX);
    return b;
}

static void free_memory(struct builder *b) {
    struct list *const lists[] = {&b->labels, &b->annotations, &b->owners, &b->conditions, &b->images, &b->init_images};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        free(lists[i]->entries);
        *lists[i] = (struct list){0};
    }
    free_chunks(b->chunks);
    b->chunks = NULL;
    strbuf_finish(&b->repaired);
    b->bytes = 0;
}

static void destroy(void *builder) {
    free_memory(builder);
    free(builder);
}

static void begin(void *builder) {
    struct builder *b = builder;
    if (b->bytes > MEMORY_KEPT || b->repaired.capacity > MEMORY_KEPT)
        free_memory(b);
    for (struct chunk *chunk = b->chunks; chunk && chunk->next; chunk = b->chunks) {
        b->chunks = chunk->next;
        b->bytes -= sizeof *chunk + chunk->room;
        free(chunk);
    }
    if (b->chunks)
        b->chunks->used = 0;
    b->labels.n = b->annotations.n = b->owners.n = b->conditions.n = b->images.n = b->init_images.n = 0;
    b->odd = NULL;
    job_object_init(&b->object);
    b->object.oddities = ODD_METADATA;
}

/* ---- what comes ---- */

/* As in JSON: only JSON's absent is NULL. */
static const char *plain(struct job_text text) {
    return strlen(text.text) == text.len ? text.text : NULL;
}

/* The same of what JSON leaves out where it is empty. */
static const char *plain_or_none(struct job_text text) {
    return text.len ? plain(text) : NULL;
}

static const char *identity(struct builder *b, struct job_text text) {
    if (!plain(text))
        b->object.oddities |= ODD_IDENTITY;
    return text.len ? text.text : NULL;
}

static int end_image(struct builder *b, struct list *list, struct error *err) {
    return b->image.len ? append(b, list, &b->image, sizeof b->image, err) : 0;
}

static int64_t count_of(int64_t value) {
    return value >= 0 ? value : JOB_COUNT_NONE;
}

/* A count that JSON leaves out where it is 0. */
static int64_t count_or_none(int64_t value) {
    return value > 0 ? value : JOB_COUNT_NONE;
}

static int on_number(void *builder, unsigned id, uint64_t value, struct error *err) {
    struct builder *b = builder;
    int32_t small = (int32_t)value; /* as Go cuts it */
    (void)err;
    switch ((enum id)id) {
    case ID_SECONDS:
        b->seconds = (int64_t)value;
        break;
    case ID_NANOS:
        b->nanos = small;
        break;
    case ID_OWNER_CONTROLLER:
        b->owner.controls = value != 0;
        break;
    case ID_PARALLELISM:
        b->object.parallelism = count_of(small);
        break;
    case ID_COMPLETIONS:
        b->object.completions = count_of(small);
        break;
    case ID_BACKOFF_LIMIT:
        b->object.backoff_limit = count_of(small);
        break;
    case ID_TTL:
        job_object_set_ttl(&b->object, small);
        break;
    case ID_SUCCEEDED:
        b->object.succeeded = count_or_none(small);
        break;
    case ID_FAILED:
        b->object.failed = count_or_none(small);
        break;
    default:
        break;
    }
    return 0;
}

static void take_pair_key(struct builder *b, struct job_text text) {
    if (!plain(text))
        b->odd = "a key has a NUL character";
    b->pair.key = text.text;
}

/* Of the metadata and of what is in it. */
static void take_metadata_text(struct builder *b, enum id id, struct job_text text) {
    switch (id) {
    case ID_NAME:
        b->object.name = identity(b, text);
        break;
    case ID_NAMESPACE:
        b->object.namespace = identity(b, text);
        break;
    case ID_UID:
        b->object.uid = identity(b, text);
        break;
    case ID_VERSION:
        b->object.resource_version = identity(b, text);
        break;
    case ID_PAIR_KEY:
        take_pair_key(b, text);
        break;
    case ID_PAIR_VALUE:
        b->pair.value = text.text;
        b->pair.value_len = text.len;
        break;
    case ID_OWNER_KIND:
        b->owner.kind = plain(text);
        break;
    case ID_OWNER_NAME:
        b->owner.name = plain(text);
        break;
    case ID_OWNER_UID:
        b->owner.uid = plain(text);
        break;
    case ID_OWNER_API:
        b->owner.api_version = plain(text);
        break;
    case ID_FINALIZER:
        job_object_add_finalizer(&b->object, text.text);
        break;
    default:
        break;
    }
}

static int on_text(void *builder, unsigned id, const char *data, size_t len, struct error *err) {
    struct builder *b = builder;
    struct job_text text = {"", 0};
    if (keep_text(b, data, len, &text, err) < 0)
        return -1;
    switch ((enum id)id) {
    case ID_COMPLETION_MODE:
        b->object.completion_mode = plain(text);
        break;
    case ID_IMAGE:
        b->image = text;
        break;
    case ID_CONDITION_TYPE:
        b->condition.type = plain(text);
        break;
    case ID_CONDITION_STATUS:
        b->condition.status = plain(text);
        break;
    case ID_REASON:
        b->condition.reason = plain_or_none(text);
        break;
    case ID_MESSAGE:
        b->condition.message = plain_or_none(text);
        break;
    case ID_COMPLETED_INDEXES:
        b->object.completed_indexes = plain_or_none(text);
        break;
    case ID_FAILED_INDEXES:
        b->object.failed_indexes = plain(text);
        break;
    default:
        take_metadata_text(b, (enum id)id, text);
        break;
    }
    return 0;
}

static int on_open(void *builder, unsigned id, const struct protobuf_message **message, struct error *err) {
    struct builder *b = builder;
    (void)message;
    (void)err;
    switch ((enum id)id) {
    case ID_METADATA:
        b->object.oddities &= ~(unsigned)ODD_METADATA;
        break;
    case ID_CREATED:
    case ID_DELETED:
    case ID_TRANSITION:
    case ID_STARTED:
    case ID_COMPLETED:
        b->seconds = b->nanos = 0;
        break;
    case ID_LABEL:
    case ID_ANNOTATION:
        b->pair = (struct job_pair){.key = "", .value = ""};
        break;
    case ID_OWNER:
        b->owner = (struct job_owner){.kind = "", .name = "", .uid = "", .api_version = ""};
        break;
    case ID_CONDITION:
        b->condition = (struct job_condition){.type = "", .status = "", .transition_ms = TIME_NONE};
        break;
    case ID_CONTAINER:
    case ID_INIT_CONTAINER:
        b->image = (struct job_text){"", 0};
        break;
    default:
        break;
    }
    return 0;
}

/* What JSON shows of a meta/v1 Time: whole seconds, and nothing of Go's zero time, as which 0 counts here. */
static int64_t time_of(const struct builder *b, bool *ok) {
    if (b->seconds == 0 && b->nanos == 0)
        return TIME_NONE;
    int64_t carry = b->nanos / 1000000000, rest = b->nanos % 1000000000;
    carry -= rest < 0;
    if (b->seconds < TIME_MIN_S - carry || b->seconds > TIME_MAX_S - carry) {
        *ok = false;
        return TIME_NONE;
    }
    int64_t seconds = b->seconds + carry;
    return seconds == TIME_MIN_S && rest == 0 ? TIME_NONE : seconds * 1000;
}

static void end_time(struct builder *b, int64_t *field, enum job_oddity oddity) {
    bool ok = true;
    *field = time_of(b, &ok);
    if (!ok)
        b->object.oddities |= oddity;
}

static int on_close(void *builder, unsigned id, struct error *err) {
    struct builder *b = builder;
    bool ok = true;
    switch ((enum id)id) {
    case ID_CREATED:
        end_time(b, &b->object.created_ms, ODD_CREATION_TIME);
        return 0;
    case ID_DELETED:
        end_time(b, &b->object.deletion_ms, ODD_DELETION_TIME);
        return 0;
    case ID_STARTED:
        end_time(b, &b->object.started_ms, ODD_RUN_TIME);
        return 0;
    case ID_COMPLETED:
        end_time(b, &b->object.completion_ms, ODD_RUN_TIME);
        return 0;
    case ID_TRANSITION:
        b->condition.transition_ms = time_of(b, &ok);
        b->condition.odd_transition = !ok;
        return 0;
    case ID_LABEL:
        return append(b, &b->labels, &b->pair, sizeof b->pair, err);
    case ID_ANNOTATION:
        return append(b, &b->annotations, &b->pair, sizeof b->pair, err);
    case ID_OWNER:
        return append(b, &b->owners, &b->owner, sizeof b->owner, err);
    case ID_CONDITION:
        return append(b, &b->conditions, &b->condition, sizeof b->condition, err);
    case ID_CONTAINER:
        return end_image(b, &b->images, err);
    case ID_INIT_CONTAINER:
        return end_image(b, &b->init_images, err);
    default:
        return 0;
    }
}

static int on_twice(void *builder, unsigned id, struct error *err) {
    struct builder *b = builder;
    (void)id;
    (void)err;
    b->odd = "a field is there twice";
    return 0;
}

/* ---- the end ---- */

static int compare_keys(const void *a, const void *b) {
    return strcmp(((const struct job_pair *)a)->key, ((const struct job_pair *)b)->key);
}

static bool is_rising(const struct job_pair *pairs, size_t n) {
    for (size_t i = 1; i < n; i++) {
        if (compare_keys(&pairs[i - 1], &pairs[i]) >= 0)
            return false;
    }
    return true;
}

/* Go writes maps sorted, as JSON too: what comes otherwise is put in order, which shows what is there twice. */
static bool put_in_order(struct list *list) {
    if (is_rising(list->entries, list->n))
        return true;
    qsort(list->entries, list->n, sizeof(struct job_pair), compare_keys);
    return is_rising(list->entries, list->n);
}

/* The images of init containers come first, though not on the wire. */
static int join_images(struct builder *b, struct error *err) {
    for (size_t i = 0; i < b->images.n; i++) {
        if (append(b, &b->init_images, (struct job_text *)b->images.entries + i, sizeof(struct job_text), err) < 0)
            return -1;
    }
    return 0;
}

static int finish(void *builder, const void **ret, const char **ret_version, const char **ret_why, struct error *err) {
    struct builder *b = builder;
    struct job_object *object = &b->object;
    if (join_images(b, err) < 0)
        return -1;
    if (!put_in_order(&b->labels) || !put_in_order(&b->annotations))
        b->odd = "a label or an annotation is there twice";
    object->labels = b->labels.entries;
    object->n_labels = b->labels.n;
    object->annotations = b->annotations.entries;
    object->n_annotations = b->annotations.n;
    object->owners = b->owners.entries;
    object->n_owners = b->owners.n;
    object->conditions = b->conditions.entries;
    object->n_conditions = b->conditions.n;
    object->images = b->init_images.entries;
    object->n_images = b->init_images.n;
    *ret = b->odd ? NULL : object;
    *ret_version = object->resource_version;
    *ret_why = b->odd;
    return 0;
}

const struct protobuf_codec job_protobuf_codec = {.kind = "Job",
        .list_kind = "JobList",
        .message = &job_message,
        .create = create,
        .destroy = destroy,
        .begin = begin,
        .visitor = {.number = on_number, .text = on_text, .open = on_open, .close = on_close, .twice = on_twice},
        .finish = finish};
