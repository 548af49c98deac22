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
#include "cmd/config_options.h"

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

/* The value as one would write it. Returns buf, or the text itself. */
static const char *text_of(const struct config_option *option, const struct config *config, char buf[64]) {
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    const void *at = (const char *)config + option->offset;
    int64_t number = 0;
    switch (option->kind) {
    case KIND_TEXT:
    case KIND_LIST:
        return *(char *const *)at;
    case KIND_PREFIX:
        return at;
    case KIND_TTL:
        return ((const struct policy_ttl *)at)->text;
    case KIND_BOOL:
        return *(const bool *)at ? "true" : "false";
    case KIND_KEEP:
        return *(const bool *)at ? "keep" : "delete";
    case KIND_LOG_LEVEL:
        return levels[*(const enum log_level *)at];
    case KIND_LOG_FORMAT:
        return *(const enum log_format *)at == LOG_JSON ? "json" : "logfmt";
    case KIND_NUMBER:
    case KIND_DURATION:
        number = *(const int64_t *)at;
        break;
    }
    if (option->kind == KIND_DURATION && number == DURATION_NEVER)
        return "never";
    snprintf(buf, 64, option->kind == KIND_DURATION ? "%llds" : "%lld",
            (long long)(option->kind == KIND_DURATION ? number / 1000 : number));
    return buf;
}

/* What was understood, written out value by value, is understood to be the same. */
static void check_again(const struct config *config) {
    struct config *again = NULL;
    struct error err = {0};
    ensure(config_load(NULL, &again, &err) == 0);
    for (size_t i = 0; i < config_options_count; i++) {
        const struct config_option *option = &config_options[i];
        char buf[64];
        if (!option->preset)
            continue; /* of a section of its own */
        ensure(config_set(again, option->section, option->key, text_of(option, config, buf), &err) == 0);
        ensure(config_option_equal(option, config, again));
    }
    config_destroy(again);
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
    if (config_load(path, &config, &err) == 0) {
        check_config(config, lines);
        check_again(config);
    } else {
        check_error(&err, path);
    }
    config_destroy(config);
    close(fd);
    return 0;
}
