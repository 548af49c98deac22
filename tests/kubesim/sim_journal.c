#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "sim_journal.h"

#include "sim_util.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sim_journal {
    int fd;
};

static const char *const type_names[] = {[SIM_ADDED] = "ADDED", [SIM_MODIFIED] = "MODIFIED", [SIM_DELETED] = "DELETED"};

void sim_journal_write(struct sim_journal *journal, enum sim_event_type type, const struct sim_resource *res,
        const struct sim_version *version) {
    /* By one call: who kills us gets all of the line or nothing of it. */
    if (dprintf(journal->fd, "%" PRId64 " %s %" PRIu64 " %s %s\n", sim_wall_ms(), type_names[type], version->rv,
                res->plural, version->text) < 0)
        abort();
}

static const struct sim_resource *resource_named(const struct sim_store *store, const char *plural) {
    for (int i = 0; i < SIM_RESOURCE_COUNT; i++) {
        const struct sim_resource *res = sim_store_resource(store, (enum sim_resource_id)i);

        if (strcmp(res->plural, plural) == 0)
            return res;
    }
    return NULL;
}

static bool line_replay(struct sim_store *store, const char *line) {
    char type[16];
    char plural[32];
    uint64_t rv = 0;
    int at = 0;

    if (sscanf(line, "%*d %15s %" SCNu64 " %31s %n", type, &rv, plural, &at) != 3 || at == 0)
        return false;
    const struct sim_resource *res = resource_named(store, plural);
    json_t *object = json_loads(line + at, JSON_ALLOW_NUL, NULL);
    bool good = false;

    for (int i = SIM_ADDED; res && object && i <= SIM_DELETED; i++) {
        if (strcmp(type, type_names[i]) == 0)
            good = sim_store_replay(store, (enum sim_event_type)i, res, rv, object);
    }
    json_decref(object);
    return good;
}

struct sim_journal *sim_journal_open(struct sim_store *store, const char *path, bool *ret_known, char **ret_error) {
    size_t length = 0;
    char *text = sim_file_read(path, &length);
    char *rest = text;
    size_t whole = 0;
    int lines = 0;

    for (char *end = rest ? strchr(rest, '\n') : NULL; end; rest = end + 1, end = strchr(rest, '\n')) {
        *end = '\0';
        if (!line_replay(store, rest)) {
            *ret_error = sim_format("%s:%d: not a line of a journal", path, lines + 1);
            free(text);
            return NULL;
        }
        lines++;
        whole = (size_t)(end + 1 - text);
    }
    free(text);
    *ret_known = lines > 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

    /* A line without an end was cut off. */
    if (fd < 0 || ftruncate(fd, (off_t)whole) < 0) {
        *ret_error = sim_format("%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    struct sim_journal *journal = sim_alloc(sizeof(*journal));

    journal->fd = fd;
    sim_store_set_journal(store, journal);
    return journal;
}

void sim_journal_close(struct sim_journal *journal) {
    if (!journal)
        return;
    close(journal->fd);
    free(journal);
}
