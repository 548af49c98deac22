/*
 * Any bytes as a configuration: it is understood and then within every limit, or refused in one line with file and
 * line.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/duration.h"
#include "base/text.h"
#include "cmd/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ensure(condition) \
    do { \
        if (!(condition)) \
            abort(); \
    } while (0)

static void check_ttl(const struct policy_ttl *ttl, int lines) {
    int64_t ms;
    ensure(ttl->line >= 0 && ttl->line <= lines);
    ensure(duration_parse(ttl->text, &ms, NULL) == 0 && ms == ttl->ms);
}

static void check_policy(const struct policy *policy, int lines) {
    check_ttl(&policy->success, lines);
    check_ttl(&policy->failure, lines);
    ensure(policy->prefix[0] && strlen(policy->prefix) < sizeof policy->prefix && !strchr(policy->prefix, '/'));
    int before = 0;
    for (size_t i = 0; i < policy->n_sections; i++) {
        const struct policy_section *section = &policy->sections[i];
        ensure(section->glob[0] && section->line > before && section->line <= lines);
        before = section->line;
        const struct policy_ttl *ttls[] = {&section->success, &section->failure};
        for (int k = 0; k < 2; k++) {
            if (ttls[k]->text)
                check_ttl(ttls[k], lines);
            ensure(!ttls[k]->text == !ttls[k]->line);
        }
        for (size_t k = 0; k < i; k++)
            ensure(strcmp(policy->sections[k].glob, section->glob) != 0);
    }
}

static void check_config(const struct config *config, int lines) {
    ensure(config->delete_qps >= 0 && config->delete_qps <= 10000);
    ensure(config->max_in_flight >= 1 && config->max_in_flight <= 1000);
    ensure(config->policy.cronjob_settle_ms >= 0 && config->policy.cronjob_settle_ms <= 3600000);
    ensure(config->retention_ms >= 3600000 && config->namespaces[0]);
    ensure(strncmp(config->store, "sqlite:", 7) == 0);
    const char *const texts[] = {
            config->cluster, config->namespaces, config->selector, config->store, config->labels, config->annotations};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        ensure(text_is_utf8(texts[i], strlen(texts[i])));
        for (const char *at = texts[i]; *at; at++)
            ensure((unsigned char)*at >= 0x20 || *at == '\t');
    }
    check_policy(&config->policy, lines);
}

static void check_error(const struct error *err, const char *path) {
    size_t len = strlen(path);
    ensure(err->kind == ERROR_USAGE && strncmp(err->text, path, len) == 0 && err->text[len] == ':');
    for (const char *at = err->text; *at; at++)
        ensure((unsigned char)*at >= 0x20);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int fd = memfd_create("config", MFD_CLOEXEC);
    ensure(fd >= 0);
    for (size_t at = 0; at < size;) {
        ssize_t n = write(fd, data + at, size - at);
        ensure(n > 0);
        at += (size_t)n;
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int lines = 1;
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    struct config *config = NULL;
    struct error err = {0};
    if (config_load(path, &config, &err) == 0)
        check_config(config, lines);
    else
        check_error(&err, path);
    config_destroy(config);
    close(fd);
    return 0;
}
