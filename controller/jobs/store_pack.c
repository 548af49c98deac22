#include "jobs/store_pack.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "base/uuid.h"

#define TEXTS 10 /* that an extra can have; an owner has 4 */

/* ---- texts one after the other ---- */

struct packed_text {
    size_t len;
    unsigned char bytes[128 + TEXTS * (STORE_TEXT_MAX + 1)]; /* the fixed part, and the most that there can be */
};

static void add_bytes(struct packed_text *to, const void *bytes, size_t len) {
    memcpy(to->bytes + to->len, bytes, len);
    to->len += len;
}

static void add_text(struct packed_text *to, const char *text) {
    add_bytes(to, text, strnlen(text, STORE_TEXT_MAX));
    to->bytes[to->len++] = '\0';
}

static const char *take_text(const char **at) {
    const char *text = *at;
    *at += strlen(text) + 1;
    return text;
}

/* ---- what many Jobs have in common: the owner ---- */

enum {
    OWNER_LOOSE = 1,
    OWNER_HAS_NAME = 2,
    OWNER_HAS_UID = 4,
    OWNER_HAS_API = 8,
    OWNER_IS_CRONJOB = 16, /* its kind, in place of the text */
    OWNER_UID_IS_UUID = 32 /* 16 bytes come next, in place of the text */
};

static void pack_owner(const struct job *job, struct packed_text *to) {
    uint64_t uid[2];
    bool is_cronjob = strcmp(job->owner_kind, "CronJob") == 0,
         is_uuid = job->owner_uid && uuid_parse(job->owner_uid, uid);
    int flags = (job->owner_is_loose ? OWNER_LOOSE : 0) | (job->owner_name ? OWNER_HAS_NAME : 0) |
                (job->owner_uid ? OWNER_HAS_UID : 0) | (job->owner_api ? OWNER_HAS_API : 0) |
                (is_cronjob ? OWNER_IS_CRONJOB : 0) | (is_uuid ? OWNER_UID_IS_UUID : 0);
    to->len = 0;
    to->bytes[to->len++] = (unsigned char)flags;
    if (is_uuid)
        add_bytes(to, uid, sizeof uid);
    if (!is_cronjob)
        add_text(to, job->owner_kind);
    if (job->owner_uid && !is_uuid)
        add_text(to, job->owner_uid);
    if (job->owner_name)
        add_text(to, job->owner_name);
    if (job->owner_api)
        add_text(to, job->owner_api);
}

static void unpack_owner(const struct interned *owner, struct store_view *view) {
    struct job *job = &view->job;
    int flags = owner->bytes[0];
    const char *at = (const char *)owner->bytes + 1;
    job->owner_is_loose = flags & OWNER_LOOSE;
    if (flags & OWNER_UID_IS_UUID) {
        uint64_t uid[2];
        memcpy(uid, at, sizeof uid);
        at += sizeof uid;
        job->owner_uid = uuid_format(uid, view->owner_uid);
    }
    job->owner_kind = flags & OWNER_IS_CRONJOB ? "CronJob" : take_text(&at);
    if ((flags & OWNER_HAS_UID) && !job->owner_uid)
        job->owner_uid = take_text(&at);
    if (flags & OWNER_HAS_NAME)
        job->owner_name = take_text(&at);
    if (flags & OWNER_HAS_API)
        job->owner_api = take_text(&at);
}

bool store_is_owned_by(const struct store_entry *entry, const char *owner_uid) {
    uint64_t uid[2];
    if (!entry->job.owner || !(entry->job.owner->bytes[0] & OWNER_HAS_UID))
        return false;
    if (entry->job.owner->bytes[0] & OWNER_UID_IS_UUID)
        return uuid_parse(owner_uid, uid) && memcmp(entry->job.owner->bytes + 1, uid, sizeof uid) == 0;
    struct store_view view = {.job.owner_uid = NULL};
    unpack_owner(entry->job.owner, &view);
    return strcmp(view.job.owner_uid, owner_uid) == 0;
}

/* ---- what few Jobs have ---- */

#define TIMES 5

/* The fixed part of it; each text that has its bit follows, in the order of list_texts. */
struct extra {
    int64_t success_ms, failure_ms, hold_until_ms;
    int64_t times_ms[TIMES]; /* all 0 unless one of them is not a whole second */
    const char *doubt, *bad_why;
    uint16_t texts;
    uint8_t success, failure, hold; /* enum annotation_state */
    uint8_t hook_tool;
    bool unknown_key, has_times;
};
/* It is compared as bytes. */
static_assert(sizeof(struct extra) == (3 + TIMES) * sizeof(int64_t) + 2 * sizeof(char *) + 8, "no padding");

static void list_texts(struct job *job, const char **texts[TEXTS]) {
    const char **const all[TEXTS] = {&job->uid, &job->resource_version, &job->name, &job->hook, &job->finalizers,
            &job->annotations.success.text, &job->annotations.failure.text, &job->annotations.hold.text,
            &job->annotations.bad_key, &job->annotations.bad_value};
    memcpy(texts, all, sizeof all);
}

static void list_times(struct job *job, int64_t *times[TIMES]) {
    int64_t *const all[TIMES] = {
            &job->created_ms, &job->started_ms, &job->finished_ms, &job->completion_ms, &job->deletion_ms};
    memcpy(times, all, sizeof all);
}

/* 0 for none. False when these are not seconds that fit. */
static bool pack_times(const struct job *job, uint32_t seconds[TIMES]) {
    int64_t *times[TIMES];
    struct job copy = *job;
    list_times(&copy, times);
    for (int i = 0; i < TIMES; i++) {
        int64_t ms = *times[i];
        seconds[i] = 0;
        if (ms == TIME_NONE)
            continue;
        if (ms <= 0 || ms % 1000 || ms / 1000 > UINT32_MAX)
            return false;
        seconds[i] = (uint32_t)(ms / 1000);
    }
    return true;
}

/* Decimal as the API server writes it; 0 otherwise. */
static uint64_t pack_version(const char *text) {
    uint64_t number = 0;
    size_t len = text ? strlen(text) : 0;
    if (len == 0 || len > 19 || *text == '0')
        return 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return 0;
        number = number * 10 + (uint64_t)(*text - '0');
    }
    return number;
}

/* job: only what is not kept in another way has its text. False when there is nothing to keep. */
static bool pack_extra(struct job *job, bool times_fit, struct packed_text *to) {
    const struct annotations *a = &job->annotations;
    const char **texts[TEXTS];
    int64_t *times[TIMES];
    struct extra extra = {.texts = 0};
    extra.success_ms = a->success.ms;
    extra.failure_ms = a->failure.ms;
    extra.hold_until_ms = a->hold.until_ms;
    extra.doubt = job->doubt;
    extra.bad_why = a->bad_why;
    extra.success = (uint8_t)a->success.state;
    extra.failure = (uint8_t)a->failure.state;
    extra.hold = (uint8_t)a->hold.state;
    extra.hook_tool = job->hook_tool;
    extra.unknown_key = a->unknown_key;
    extra.has_times = !times_fit;
    list_times(job, times);
    for (int i = 0; i < TIMES && !times_fit; i++)
        extra.times_ms[i] = *times[i];
    list_texts(job, texts);
    to->len = sizeof extra;
    for (int i = 0; i < TEXTS; i++) {
        if (!*texts[i])
            continue;
        extra.texts |= (uint16_t)(1u << i);
        add_text(to, *texts[i]);
    }
    memcpy(to->bytes, &extra, sizeof extra);
    return extra.texts || extra.doubt || extra.hook_tool || extra.unknown_key || extra.has_times;
}

static void unpack_extra(const struct interned *packed, struct job *job) {
    struct extra extra;
    const char **texts[TEXTS], *at = (const char *)packed->bytes + sizeof extra;
    int64_t *times[TIMES];
    memcpy(&extra, packed->bytes, sizeof extra);
    struct annotations *a = &job->annotations;
    a->success.ms = extra.success_ms;
    a->failure.ms = extra.failure_ms;
    a->hold.until_ms = extra.hold_until_ms;
    a->success.state = (enum annotation_state)extra.success;
    a->failure.state = (enum annotation_state)extra.failure;
    a->hold.state = (enum annotation_state)extra.hold;
    a->bad_why = extra.bad_why;
    a->unknown_key = extra.unknown_key;
    job->doubt = extra.doubt;
    job->hook_tool = extra.hook_tool;
    list_times(job, times);
    for (int i = 0; i < TIMES && extra.has_times; i++)
        *times[i] = extra.times_ms[i];
    list_texts(job, texts);
    for (int i = 0; i < TEXTS; i++) {
        if (extra.texts & 1u << i)
            *texts[i] = take_text(&at);
    }
}

static const char *extra_uid(const struct interned *packed) {
    struct job job = {.uid = NULL};
    unpack_extra(packed, &job);
    return job.uid;
}

/* ---- the Job ---- */

struct store_key store_key_of(const char *uid) {
    struct store_key key = {.text = NULL};
    if (uuid_parse(uid, key.uid))
        return key;
    key.text = uid;
    key.uid[0] = hash_bytes(uid, strlen(uid));
    return key;
}

bool store_key_is_of(const struct store_key *key, const struct store_entry *entry) {
    if (memcmp(key->uid, entry->job.uid, sizeof key->uid) != 0)
        return false;
    const char *text = entry->job.extra ? extra_uid(entry->job.extra) : NULL;
    return key->text ? text && strcmp(text, key->text) == 0 : !text;
}

static int intern_all(
        struct store *store, const struct job *job, const char *name, bool times_fit, struct packed_job *packed) {
    struct packed_text bytes;
    struct job rest = *job;
    if (!store_key_of(job->uid).text)
        rest.uid = NULL;
    if (packed->resource_version)
        rest.resource_version = NULL;
    if (strcmp(name, job->name) == 0)
        rest.name = NULL;
    bytes.len = 0;
    add_text(&bytes, job->namespace);
    if (!(packed->namespace = intern_get(&store->texts, bytes.bytes, bytes.len)))
        return -1;
    if (job->owner_kind) {
        pack_owner(job, &bytes);
        if (!(packed->owner = intern_get(&store->texts, bytes.bytes, bytes.len)))
            return -1;
    }
    if (pack_extra(&rest, times_fit, &bytes) && !(packed->extra = intern_get(&store->texts, bytes.bytes, bytes.len)))
        return -1;
    return 0;
}

static void drop(struct store *store, const struct packed_job *packed) {
    intern_drop(&store->texts, packed->namespace);
    intern_drop(&store->texts, packed->owner);
    intern_drop(&store->texts, packed->extra);
}

int store_pack(struct store *store, struct store_entry *entry, const struct job *job) {
    struct packed_job packed = {
            .resource_version = pack_version(job->resource_version), .spec_ttl_s = (int32_t)job->spec_ttl_s};
    struct store_key key = store_key_of(job->uid);
    memcpy(packed.uid, key.uid, sizeof packed.uid);
    bool times_fit = pack_times(job, packed.times_s);
    if (intern_all(store, job, entry->name, times_fit, &packed) < 0) {
        drop(store, &packed);
        return -1;
    }
    drop(store, &entry->job);
    entry->job = packed;
    entry->outcome = (uint8_t)job->outcome;
    return 0;
}

void store_pack_drop(struct store *store, struct store_entry *entry) {
    drop(store, &entry->job);
}

const struct job *store_job(const struct store_entry *entry, struct store_view *view) {
    const struct packed_job *packed = &entry->job;
    struct job *job = &view->job;
    int64_t *times[TIMES];
    *job = (struct job){.namespace = store_namespace_of(entry),
            .name = entry->name,
            .spec_ttl_s = packed->spec_ttl_s,
            .annotations.hold.until_ms = TIME_NONE,
            .outcome = (enum outcome)entry->outcome};
    list_times(job, times);
    for (int i = 0; i < TIMES; i++)
        *times[i] = packed->times_s[i] ? packed->times_s[i] * 1000LL : TIME_NONE;
    if (packed->resource_version) {
        job->resource_version = text_from_number(packed->resource_version, view->resource_version);
    }
    if (packed->owner)
        unpack_owner(packed->owner, view);
    if (packed->extra)
        unpack_extra(packed->extra, job);
    if (!job->uid)
        job->uid = uuid_format(packed->uid, view->uid);
    return job;
}

const char *store_namespace_of(const struct store_entry *entry) {
    return (const char *)entry->job.namespace->bytes;
}
