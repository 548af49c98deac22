#include "cmd/config_options.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/duration.h"
#include "base/strbuf.h"
#include "base/table.h"
#include "base/text.h"
#include "cmd/config.h"
#include "cmd/options.h"
#include "serve/address.h"

#define SHOWN_MAX 60                       /* characters of a value in a message: enough to recognise it */
#define LEASE_NAME_MAX 253                 /* a DNS subdomain, RFC 1123 */
#define NAMESPACE_MAX 63                   /* a DNS label, RFC 1123 */
#define RETENTION_LEAST_MS (3600 * 1000LL) /* less would forget a run while people still look at it */
#define LEASE_LEAST_MS 1000
#define LEASE_MOST_MS (600 * 1000LL)  /* of fail-over: nobody wants to wait longer for it */
#define SETTLE_MAX_MS (3600 * 1000LL) /* a CronJob that takes longer to notice has other problems */

static const char *check_namespaces(const char *text);
static const char *check_selector(const char *text);
static const char *check_store(const char *text);
static const char *check_owners(const char *text);
static const char *check_lease_namespace(const char *text);
static const char *check_lease_name(const char *text);
static const char *check_listen(const char *text);

/* Where the value goes; and where its line goes, for those that a decision can name. */
#define AT(member) offsetof(struct config, member), 0
#define AT_WITH_LINE(member, line) offsetof(struct config, member), offsetof(struct config, line)
#define IN_SECTION(member) offsetof(struct policy_section, member), 0

/* What there is to configure: parsing, checks, --help and the README come from here. */
const struct config_option config_options[] = {
        {"sexton", "cluster", KIND_TEXT, "", 0, 0, NULL, false, AT(cluster),
                "name of the cluster in the register; empty: the uid of the Namespace kube-system"},
        {"sexton", "namespaces", KIND_LIST, "*", 0, 0, check_namespaces, false, AT(namespaces),
                "namespaces to look after, or * for all"},
        {"sexton", "selector", KIND_TEXT, "", 0, 0, check_selector, false, AT(selector),
                "only Jobs with these labels, as in kubectl -l; empty: all"},
        {"sexton", "annotation-prefix", KIND_PREFIX, "sexton.dev", 0, 0, NULL, false, AT(policy.prefix),
                "what stands before the / in the annotations"},
        {"sexton", "delete-qps", KIND_NUMBER, "50", 0, 10000, NULL, true, AT(delete_qps),
                "deletions per second; 0: no limit"},
        {"sexton", "max-in-flight", KIND_NUMBER, "32", 1, 1000, NULL, true, AT(max_in_flight),
                "deletions sent and not answered yet"},
        {"sexton", "cronjob-settle", KIND_DURATION, "60s", 0, SETTLE_MAX_MS, NULL, true,
                AT_WITH_LINE(policy.cronjob_settle_ms, policy.cronjob_settle_line),
                "longest wait for a CronJob to take note of its finished Job"},
        {"sexton", "hooks", KIND_KEEP, "keep", 0, 0, NULL, true, AT(policy.keep_hooks),
                "Jobs that are hooks of Helm or Argo CD: leave them to their tool, or treat them like others"},
        {"sexton", "owners", KIND_LIST, "", 0, 0, check_owners, true, AT(policy.owners),
                "owners, as globs of Kind or Kind.group, whose Jobs may be deleted although they may be run again"},
        {"sexton", "recreate-limit", KIND_NUMBER, "3", 0, 1000, NULL, true,
                AT_WITH_LINE(policy.recreate_limit, policy.recreate_limit_line),
                "back off from a name that came back right after its deletion this often in a row; 0: never"},
        {"sexton", "leader-elect", KIND_BOOL, "true", 0, 0, NULL, false, AT(leader_elect),
                "delete only while holding a Lease, so that of several controllers one acts"},
        {"sexton", "lease-name", KIND_TEXT, "sexton", 0, 0, check_lease_name, false, AT(lease_name),
                "name of the Lease; controllers with the same one take turns"},
        {"sexton", "lease-namespace", KIND_TEXT, "", 0, 0, check_lease_namespace, false, AT(lease_namespace),
                "where the Lease is; empty: the Pod's own namespace, or the kubeconfig context's"},
        {"sexton", "lease-duration", KIND_DURATION, "15s", LEASE_LEAST_MS, LEASE_MOST_MS, NULL, false,
                AT(lease_duration_ms), "how long others wait for a holder that is silent; whole seconds"},
        {"sexton", "renew-deadline", KIND_DURATION, "10s", LEASE_LEAST_MS, LEASE_MOST_MS, NULL, false,
                AT(renew_deadline_ms), "how long the holder acts after a renewal; less than lease-duration"},
        {"sexton", "retry-period", KIND_DURATION, "2s", LEASE_LEAST_MS, LEASE_MOST_MS, NULL, false, AT(retry_period_ms),
                "between two requests for the Lease while it is another's or they fail; less than renew-deadline"},
        {"sexton", "events", KIND_BOOL, "true", 0, 0, NULL, true, AT(events),
                "write Kubernetes Events on Jobs that are kept for a reason, and on CronJobs whose Jobs were deleted"},
        {"sexton", "log-level", KIND_LOG_LEVEL, "info", 0, 0, NULL, true, AT(log_level), "the least level to log"},
        {"sexton", "log-format", KIND_LOG_FORMAT, "logfmt", 0, 0, NULL, true, AT(log_format),
                "how a log line is written"},
        {"policy", "ttl-after-success", KIND_TTL, "0s", 0, 0, NULL, true, AT(policy.success),
                "delete this long after a Job succeeded"},
        {"policy", "ttl-after-failure", KIND_TTL, "24h", 0, 0, NULL, true, AT(policy.failure),
                "delete this long after a Job failed"},
        {CONFIG_NAMESPACE_SECTION, "ttl-after-success", KIND_TTL, NULL, 0, 0, NULL, true, IN_SECTION(success),
                "the same for namespaces that match GLOB; the best match counts"},
        {CONFIG_NAMESPACE_SECTION, "ttl-after-failure", KIND_TTL, NULL, 0, 0, NULL, true, IN_SECTION(failure),
                "the same for namespaces that match GLOB; the best match counts"},
        {"history", "store", KIND_TEXT, "sqlite:/var/lib/sexton/history.db", 0, 0, check_store, false, AT(store),
                "where the register is"},
        {"history", "retention", KIND_DURATION, "400d", RETENTION_LEAST_MS, DURATION_NEVER, NULL, true,
                AT(retention_ms), "how long a run stays in the register"},
        {"history", "manifest", KIND_BOOL, "false", 0, 0, NULL, true, AT(manifest),
                "record what is needed to create the Job again; Jobs then come as JSON instead of protobuf"},
        {"history", "labels", KIND_LIST, "*", 0, 0, NULL, true, AT(labels), "labels to record, as globs"},
        {"history", "annotations", KIND_LIST, "batch.kubernetes.io/* cronjob.kubernetes.io/*", 0, 0, NULL, true,
                AT(annotations), "annotations to record, as globs; those with our prefix always are"},
        {"serve", "listen", KIND_TEXT, "", 0, 0, check_listen, false, AT(listen),
                "where /healthz, /readyz and /metrics are served: :8080, 127.0.0.1:8080 or [::1]:8080; empty: nowhere"},
};
const size_t config_options_count = sizeof config_options / sizeof config_options[0];
_Static_assert(sizeof config_options / sizeof config_options[0] <= CONFIG_OPTIONS_MAX, "the table outgrew its bound");

/* ---- values ---- */

bool config_is_lower_alnum(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* RFC 1123: letters, digits and inner dashes. */
static bool is_dns_label(const char *text, size_t len) {
    if (len == 0 || len > NAMESPACE_MAX || !config_is_lower_alnum(text[0]) || !config_is_lower_alnum(text[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!config_is_lower_alnum(text[i]) && text[i] != '-')
            return false;
    }
    return true;
}

static bool is_dns_subdomain(const char *text) {
    for (;; text++) {
        size_t len = strcspn(text, ".");
        if (!is_dns_label(text, len))
            return false;
        text += len;
        if (!*text)
            return true;
    }
}

static const char *check_namespaces(const char *text) {
    size_t len, words = 0;
    bool all = false;
    const char *at = text;
    for (const char *word; (word = text_list_next(&at, &len)); words++) {
        if (len == 1 && *word == '*')
            all = true;
        else if (!is_dns_label(word, len))
            return "is not a list of namespaces (small letters, digits and inner dashes), nor *";
        const char *before = text;
        size_t before_len;
        for (const char *other; (other = text_list_next(&before, &before_len)) != word;) {
            if (before_len == len && memcmp(other, word, len) == 0)
                return "names a namespace twice";
        }
    }
    if (words == 0)
        return "names no namespace: write * for all";
    return all && words > 1 ? "has * beside other names: * is all of them" : NULL;
}

/* Roughly: the API server has the last word, but a slip should be told before anything starts. */
static const char *check_selector(const char *text) {
    static const char wrong[] = "is not a label selector (like app=web,tier!=test or team in (a,b))";
    bool in_set = false, empty = true;
    for (const char *at = text; *at; at++) {
        if (isalnum((unsigned char)*at) || strchr("-_./", *at)) {
            empty = false;
        } else if (*at == '(' || *at == ')') {
            if (in_set != (*at == ')'))
                return wrong;
            in_set = *at == '(';
            empty = false;
        } else if (*at == ',') {
            if (empty && !in_set)
                return wrong;
            empty = !in_set;
        } else if (!strchr("=!<> \t", *at)) {
            return wrong;
        }
    }
    return in_set || (empty && *text) ? wrong : NULL;
}

/* A Kind starts with a capital letter: "jobsets" would match nothing, ever. */
static const char *check_owners(const char *text) {
    size_t len;
    for (const char *word; (word = text_list_next(&text, &len));) {
        bool is_kind = len < OWNER_TEXT_MAX && ((*word >= 'A' && *word <= 'Z') || strchr("*?[", *word));
        for (size_t i = 0; i < len && is_kind; i++)
            is_kind = isalnum((unsigned char)word[i]) || strchr("-.*?[]!^", word[i]);
        if (!is_kind)
            return "is not a list of kinds (like JobSet.jobset.x-k8s.io, Workflow.* or *)";
    }
    return NULL;
}

static const char *check_lease_namespace(const char *text) {
    return !*text || is_dns_label(text, strlen(text)) ? NULL : "is not the name of a namespace";
}

static const char *check_lease_name(const char *text) {
    return strlen(text) <= LEASE_NAME_MAX && is_dns_subdomain(text)
                   ? NULL
                   : "is not a name in small letters, digits, dashes and dots";
}

static const char *check_store(const char *text) {
    static const char scheme[] = "sqlite:";
    size_t len = sizeof scheme - 1;
    return strncmp(text, scheme, len) == 0 && text[len] ? NULL : "must be like sqlite:/path/to/history.db";
}

static const char *check_listen(const char *text) {
    struct address address;
    return !*text || address_parse(text, &address, NULL) == 0
                   ? NULL
                   : "is not an address with a port (like :8080, 127.0.0.1:8080 or [::1]:8080; names are not looked "
                     "up)";
}

static int bad_value(const struct config_option *option, const char *value, const char *why, struct error *err) {
    struct strbuf shown = STRBUF_INIT(4096);
    text_add_escaped(&shown, value, SHOWN_MAX);
    /* A location can have a password in it. */
    if (option->check == check_store)
        error_set(err, ERROR_USAGE, "%s %s", option->key, why);
    else
        error_set(err, ERROR_USAGE, "%s: '%s' %s", option->key, strbuf_text(&shown), why);
    strbuf_finish(&shown);
    return -1;
}

static int parse_duration(const struct config_option *option, const char *value, int64_t *ret_ms, struct error *err) {
    struct error inner;
    if (duration_parse(value, ret_ms, &inner) == 0)
        return 0;
    char why[ERROR_TEXT_MAX + 32];
    snprintf(why, sizeof why, "is not understood: %s", inner.text);
    return bad_value(option, value, why, err);
}

static int set_duration(const struct config_option *option, const char *value, int64_t *at, struct error *err) {
    int64_t ms;
    if (parse_duration(option, value, &ms, err) < 0)
        return -1;
    char least[DURATION_TEXT_MAX], most[DURATION_TEXT_MAX], why[2 * DURATION_TEXT_MAX + 32];
    snprintf(why, sizeof why, "is not from %s to %s", duration_format(option->least, least),
            duration_format(option->most, most));
    if (ms < option->least || ms > option->most)
        return bad_value(option, value, why, err);
    *at = ms;
    return 0;
}

static int set_number(const struct config_option *option, const char *value, int64_t *at, struct error *err) {
    char why[96];
    snprintf(why, sizeof why, "is not a whole number from %lld to %lld", (long long)option->least,
            (long long)option->most);
    /* Its own message has the value as it is, and this one is from a file. */
    if (options_parse_number(option->key, value, option->least, option->most, at, NULL) < 0)
        return bad_value(option, value, why, err);
    return 0;
}

/* TTLs keep their text, for plan shows it as it was written. */
static int set_ttl(
        const struct config_option *option, const char *value, int line, struct policy_ttl *ttl, struct error *err) {
    int64_t ms;
    if (parse_duration(option, value, &ms, err) < 0)
        return -1;
    char *text = strdup(value);
    if (!text)
        return error_nomem(err);
    free((char *)ttl->text);
    *ttl = (struct policy_ttl){.ms = ms, .text = text, .line = line};
    return 0;
}

static int set_text(const struct config_option *option, const char *value, char **at, struct error *err) {
    const char *why = option->check ? option->check(value) : NULL;
    if (why)
        return bad_value(option, value, why, err);
    char *text = strdup(value);
    if (!text)
        return error_nomem(err);
    free(*at);
    *at = text;
    return 0;
}

static int set_value(const struct config_option *option, const char *value, int line, void *base, struct error *err) {
    void *at = (char *)base + option->offset;
    const char *why = NULL;
    switch (option->kind) {
    case KIND_TEXT:
    case KIND_LIST:
        return set_text(option, value, at, err);
    case KIND_NUMBER:
        return set_number(option, value, at, err);
    case KIND_DURATION:
        return set_duration(option, value, at, err);
    case KIND_TTL:
        return set_ttl(option, value, line, at, err);
    case KIND_BOOL:
        if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
            why = "is neither true nor false";
        else
            *(bool *)at = strcmp(value, "true") == 0;
        break;
    case KIND_KEEP:
        if (strcmp(value, "keep") != 0 && strcmp(value, "delete") != 0)
            why = "is neither keep nor delete";
        else
            *(bool *)at = strcmp(value, "keep") == 0;
        break;
    case KIND_LOG_LEVEL:
        if (!log_level_parse(value, at))
            why = "is not debug, info, warn or error";
        break;
    case KIND_LOG_FORMAT:
        if (!log_format_parse(value, at))
            why = "is neither logfmt nor json";
        break;
    case KIND_PREFIX:
        if (strlen(value) >= ANNOTATION_PREFIX_MAX || !is_dns_subdomain(value))
            why = "is not a DNS name in small letters (like sexton.dev)";
        else
            memcpy(at, value, strlen(value) + 1);
        break;
    }
    return why ? bad_value(option, value, why, err) : 0;
}

int config_option_set(const struct config_option *option, const char *value, int line, void *base, struct error *err) {
    if (set_value(option, value, line, base, err) < 0)
        return -1;
    if (option->line_offset)
        *(int *)(void *)((char *)base + option->line_offset) = line;
    return 0;
}

void config_option_release(const struct config_option *option, void *base) {
    void *at = (char *)base + option->offset;
    if (option->kind == KIND_TEXT || option->kind == KIND_LIST)
        free(*(char **)at);
    else if (option->kind == KIND_TTL)
        free((char *)((struct policy_ttl *)at)->text);
}

/* ---- reload ---- */

static size_t size_of_kind(enum config_kind kind) {
    static const size_t sizes[] = {[KIND_TEXT] = sizeof(char *),
            [KIND_LIST] = sizeof(char *),
            [KIND_NUMBER] = sizeof(int64_t),
            [KIND_DURATION] = sizeof(int64_t),
            [KIND_BOOL] = sizeof(bool),
            [KIND_KEEP] = sizeof(bool),
            [KIND_LOG_LEVEL] = sizeof(enum log_level),
            [KIND_LOG_FORMAT] = sizeof(enum log_format),
            [KIND_PREFIX] = ANNOTATION_PREFIX_MAX,
            [KIND_TTL] = sizeof(struct policy_ttl)};
    return sizes[kind];
}

bool config_option_equal(const struct config_option *option, const void *config, const void *other) {
    const char *a = (const char *)config + option->offset, *b = (const char *)other + option->offset;
    switch (option->kind) {
    case KIND_TEXT:
    case KIND_LIST:
        return strcmp(*(char *const *)(const void *)a, *(char *const *)(const void *)b) == 0;
    case KIND_PREFIX:
        return strcmp(a, b) == 0;
    case KIND_TTL:
        return ((const struct policy_ttl *)(const void *)a)->ms == ((const struct policy_ttl *)(const void *)b)->ms;
    case KIND_NUMBER:
    case KIND_DURATION:
    case KIND_BOOL:
    case KIND_KEEP:
    case KIND_LOG_LEVEL:
    case KIND_LOG_FORMAT:
        break;
    }
    return memcmp(a, b, size_of_kind(option->kind)) == 0;
}

static void swap_bytes(void *a, void *b, size_t size) {
    for (unsigned char *x = a, *y = b; size; size--, x++, y++) {
        unsigned char byte = *x;
        *x = *y;
        *y = byte;
    }
}

void config_option_swap(const struct config_option *option, void *config, void *other) {
    swap_bytes((char *)config + option->offset, (char *)other + option->offset, size_of_kind(option->kind));
    if (option->line_offset)
        swap_bytes((char *)config + option->line_offset, (char *)other + option->line_offset, sizeof(int));
}

/* ---- the reference ---- */

static const char *type_text(const struct config_option *option, char *buf, size_t size) {
    char least[DURATION_TEXT_MAX], most[DURATION_TEXT_MAX];
    switch (option->kind) {
    case KIND_NUMBER:
        snprintf(buf, size, "%lld..%lld", (long long)option->least, (long long)option->most);
        return buf;
    case KIND_DURATION:
        snprintf(buf, size, "%s..%s", duration_format(option->least, least), duration_format(option->most, most));
        return buf;
    case KIND_TEXT:
        return "text";
    case KIND_LIST:
        return "list";
    case KIND_BOOL:
        return "true|false";
    case KIND_KEEP:
        return "keep|delete";
    case KIND_LOG_LEVEL:
        return "debug|info|warn|error";
    case KIND_LOG_FORMAT:
        return "logfmt|json";
    case KIND_PREFIX:
        return "DNS name";
    case KIND_TTL:
        return "duration|never";
    }
    return "";
}

int config_print_reference(FILE *out, struct error *err) {
    static const char *const columns[] = {"section", "key", "type", "default", "reload", "meaning", NULL};
    struct table *table = table_create(columns, err);
    int result = table ? 0 : -1;
    for (size_t i = 0; i < config_options_count && result == 0; i++) {
        const struct config_option *option = &config_options[i];
        char section[32], type[96];
        snprintf(section, sizeof section, "[%s]", option->section);
        const char *const cells[] = {section, option->key, type_text(option, type, sizeof type), option->preset,
                option->reloadable ? "yes" : "no", option->help};
        for (size_t c = 0; c < sizeof cells / sizeof cells[0] && result == 0; c++)
            result = table_add(table, cells[c], err);
    }
    if (result == 0)
        result = table_print(table, out, false, err);
    table_destroy(table);
    return result;
}
