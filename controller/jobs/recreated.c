#include "jobs/recreated.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define KEY_MAX 320       /* a Namespace (63 characters), a slash, a name (253), NUL */
#define COUNT_MAX 1000000 /* more says nothing new, and cannot overflow */

/* Returns its length, 0 when there can be no such name. */
static size_t key_of(const char *namespace, const char *name, char key[KEY_MAX]) {
    size_t before = strlen(namespace), after = strlen(name);
    if (before + after + 2 > KEY_MAX)
        return 0;
    memcpy(key, namespace, before);
    key[before] = '/';
    memcpy(key + before + 1, name, after);
    key[before + 1 + after] = '\0';
    return before + 1 + after;
}

static struct recreated_name *find(const struct recreated *table, const char *key, size_t len) {
    struct recreated_name *found = NULL;
    if (table->again)
        HASH_FIND(hh, table->again, key, len, found);
    if (!found && table->once)
        HASH_FIND(hh, table->once, key, len, found);
    return found;
}

static void take_out(struct recreated *table, struct recreated_name *name) {
    struct recreated_name *again = NULL;
    if (table->again)
        HASH_FIND(hh, table->again, name->key, strlen(name->key), again);
    if (again)
        HASH_DEL(table->again, name);
    else
        HASH_DEL(table->once, name);
}

static void put(struct recreated *table, struct recreated_name *name, bool came_back) {
    if (came_back)
        HASH_ADD_KEYPTR(hh, table->again, name->key, strlen(name->key), name);
    else
        HASH_ADD_KEYPTR(hh, table->once, name->key, strlen(name->key), name);
    if (!hash_added(name))
        free(name);
}

/* uthash keeps the order of insertion: its head was deleted longest ago. */
static void make_room(struct recreated *table) {
    if (HASH_COUNT(table->once) + HASH_COUNT(table->again) < RECREATED_MAX)
        return;
    struct recreated_name *oldest = table->once ? table->once : table->again;
    take_out(table, oldest);
    free(oldest);
}

static bool came_back(const struct recreated_name *name, int64_t created_ms) {
    return created_ms == TIME_NONE || created_ms <= name->deleted_ms + RECREATED_WINDOW_MS;
}

static int count_after(const struct recreated_name *name) {
    return name->count < COUNT_MAX ? name->count + 1 : COUNT_MAX;
}

void recreated_note_deleted(
        struct recreated *table, const char *namespace, const char *name, int64_t created_ms, int64_t deleted_ms) {
    char key[KEY_MAX];
    size_t len = key_of(namespace, name, key);
    if (len == 0)
        return;
    struct recreated_name *found = find(table, key, len);
    if (found) {
        take_out(table, found);
        found->count = came_back(found, created_ms) ? count_after(found) : 0;
    } else {
        make_room(table);
        found = calloc(1, sizeof *found + len + 1);
        if (!found)
            return;
        memcpy(found->key, key, len);
    }
    found->deleted_ms = deleted_ms;
    put(table, found, found->count > 0);
}

void recreated_note_seen(struct recreated *table, const char *namespace, const char *name, int64_t created_ms) {
    char key[KEY_MAX];
    size_t len = table->once ? key_of(namespace, name, key) : 0;
    struct recreated_name *found = NULL;
    if (len)
        HASH_FIND(hh, table->once, key, len, found);
    if (!found || created_ms == TIME_NONE || !came_back(found, created_ms))
        return;
    take_out(table, found);
    put(table, found, true);
}

int recreated_count(const struct recreated *table, const char *namespace, const char *name, int64_t created_ms) {
    char key[KEY_MAX];
    if (created_ms == TIME_NONE || (!table->once && !table->again))
        return 0;
    size_t len = key_of(namespace, name, key);
    const struct recreated_name *found = len ? find(table, key, len) : NULL;
    return found && came_back(found, created_ms) ? count_after(found) : 0;
}

static void free_all(struct recreated_name **names) {
    struct recreated_name *name, *next;
    HASH_ITER (hh, *names, name, next) {
        HASH_DEL(*names, name);
        free(name);
    }
}

void recreated_finish(struct recreated *table) {
    free_all(&table->once);
    free_all(&table->again);
}
