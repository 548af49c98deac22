#include "cmd/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/duration.h"
#include "base/strbuf.h"
#include "base/table.h"
#include "base/text.h"
#include "cmd/options.h"

#define CONFIG_BYTES_MAX (1u << 20)        /* a thousand times a long configuration: more is the wrong file */
#define CONFIG_SECTIONS_MAX 1000           /* [namespace GLOB]: each is looked at for each Job */
#define CONFIG_VALUE_MAX CONFIG_BYTES_MAX  /* a list can go on for many lines */
#define SHOWN_MAX 60                       /* characters of a value in a message: enough to recognise it */
#define NAMESPACE_MAX 63                   /* a DNS label, RFC 1123 */
#define RETENTION_LEAST_MS (3600 * 1000LL) /* less would forget a run while people still look at it */
#define SETTLE_MAX_MS (3600 * 1000LL)      /* a CronJob that takes longer to notice has other problems */

enum kind {
    KIND_TEXT,
    KIND_LIST, /* words; can go on in indented lines */
    KIND_NUMBER,
    KIND_DURATION,
    KIND_BOOL,
    KIND_LOG_LEVEL,
    KIND_LOG_FORMAT,
    KIND_PREFIX,
    KIND_TTL
};

/* Says what is wrong with a text, NULL if nothing. */
typedef const char *check_text(const char *text);

struct option {
    const char *section, *key;
    enum kind kind;
    const char *preset; /* as one would write it; NULL for what has none of its own */
    int64_t least, most;
    check_text *check;
    bool reloadable;
    size_t offset; /* in struct config, or in struct policy_section */
    const char *help;
};

static check_text check_namespaces, check_selector, check_store;

#define AT(member) offsetof(struct config, member)
#define IN_SECTION(member) offsetof(struct policy_section, member)
#define NAMESPACE_SECTION "namespace GLOB"

/* What there is to configure: parsing, checks, --help and the README come from here. */
static const struct option options[] = {
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
        {"sexton", "cronjob-settle", KIND_DURATION, "60s", 0, SETTLE_MAX_MS, NULL, true, AT(cronjob_settle_ms),
                "longest wait for a CronJob to take note of its finished Job"},
        {"sexton", "log-level", KIND_LOG_LEVEL, "info", 0, 0, NULL, true, AT(log_level), "the least level to log"},
        {"sexton", "log-format", KIND_LOG_FORMAT, "logfmt", 0, 0, NULL, true, AT(log_format),
                "how a log line is written"},
        {"policy", "ttl-after-success", KIND_TTL, "0s", 0, 0, NULL, true, AT(policy.success),
                "delete this long after a Job succeeded"},
        {"policy", "ttl-after-failure", KIND_TTL, "24h", 0, 0, NULL, true, AT(policy.failure),
                "delete this long after a Job failed"},
        {NAMESPACE_SECTION, "ttl-after-success", KIND_TTL, NULL, 0, 0, NULL, true, IN_SECTION(success),
                "the same for namespaces that match GLOB; the best match counts"},
        {NAMESPACE_SECTION, "ttl-after-failure", KIND_TTL, NULL, 0, 0, NULL, true, IN_SECTION(failure),
                "the same for namespaces that match GLOB; the best match counts"},
        {"history", "store", KIND_TEXT, "sqlite:/var/lib/sexton/history.db", 0, 0, check_store, false, AT(store),
                "where the register is"},
        {"history", "retention", KIND_DURATION, "400d", RETENTION_LEAST_MS, DURATION_NEVER, NULL, true,
                AT(retention_ms), "how long a run stays in the register"},
        {"history", "manifest", KIND_BOOL, "true", 0, 0, NULL, true, AT(manifest),
                "record what is needed to create the Job again"},
        {"history", "labels", KIND_LIST, "*", 0, 0, NULL, true, AT(labels), "labels to record, as globs"},
        {"history", "annotations", KIND_LIST, "batch.kubernetes.io/* cronjob.kubernetes.io/*", 0, 0, NULL, true,
                AT(annotations), "annotations to record, as globs; those with our prefix always are"},
};
#define OPTIONS (sizeof options / sizeof options[0])

/* ---- values ---- */

static bool is_lower_alnum(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* RFC 1123: letters, digits and inner dashes. */
static bool is_dns_label(const char *text, size_t len) {
    if (len == 0 || len > NAMESPACE_MAX || !is_lower_alnum(text[0]) || !is_lower_alnum(text[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_lower_alnum(text[i]) && text[i] != '-')
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

static const char *check_store(const char *text) {
    static const char scheme[] = "sqlite:";
    size_t len = sizeof scheme - 1;
    return strncmp(text, scheme, len) == 0 && text[len] ? NULL : "must be like sqlite:/path/to/history.db";
}

static int bad_value(const struct option *option, const char *value, const char *why, struct error *err) {
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

static int parse_duration(const struct option *option, const char *value, int64_t *ret_ms, struct error *err) {
    struct error inner;
    if (duration_parse(value, ret_ms, &inner) == 0)
        return 0;
    char why[ERROR_TEXT_MAX + 32];
    snprintf(why, sizeof why, "is not understood: %s", inner.text);
    return bad_value(option, value, why, err);
}

static int set_duration(const struct option *option, const char *value, int64_t *at, struct error *err) {
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

static int set_number(const struct option *option, const char *value, int64_t *at, struct error *err) {
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
        const struct option *option, const char *value, int line, struct policy_ttl *ttl, struct error *err) {
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

static int set_text(const struct option *option, const char *value, char **at, struct error *err) {
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

/* base: the struct config, or the struct policy_section, that the option's offset counts from. */
static int set_option(const struct option *option, const char *value, int line, void *base, struct error *err) {
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

/* ---- a name that is almost right ---- */

static char fold(char c) {
    return c == '_' ? '-' : (char)tolower((unsigned char)c);
}

#define NAME_MAX_COMPARED 40 /* longer than any name of ours */

/* Levenshtein's distance; case and underscores do not count. */
static size_t distance(const char *a, const char *b) {
    size_t row[NAME_MAX_COMPARED + 1], b_len = strlen(b);
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = diagonal + (fold(a[i - 1]) != fold(b[j - 1]));
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b_len];
}

static bool is_close(const char *name, const char *wanted) {
    size_t len = strlen(name);
    if (len == 0 || len > NAME_MAX_COMPARED || strlen(wanted) > NAME_MAX_COMPARED)
        return false;
    return distance(name, wanted) <= 1 + strlen(wanted) / 5 || (len >= 3 && strstr(wanted, name));
}

/* ---- the file ---- */

struct parse {
    struct config *config;
    struct error *err;
    const char *at, *end; /* what is left of the file */
    int line;
    bool failed;

    const char *section;                 /* as in the table; NULL before the first */
    struct policy_section *of_namespace; /* in a [namespace GLOB] */
    const struct option *list;           /* the list that an indented line would go on with */
    bool goes_on, pending;               /* this line does; the handler has not seen this line */
    int section_lines[OPTIONS];          /* where the section of this row started, 0: not yet */
    int lines[OPTIONS];                  /* where the option was set */
};

static int fail(struct parse *parse) {
    parse->failed = true;
    return error_context(parse->err, "%s:%d", parse->config->path, parse->line);
}

static int unknown_key(struct parse *parse, const char *key) {
    struct strbuf shown = STRBUF_INIT(1024);
    text_add_escaped(&shown, key, SHOWN_MAX);
    const char *glob = parse->of_namespace ? parse->of_namespace->glob : NULL;
    const char *close = NULL, *elsewhere = NULL;
    for (size_t i = 0; i < OPTIONS; i++) {
        if (strcmp(options[i].section, parse->section) != 0) {
            if (strcmp(options[i].key, key) == 0 && !elsewhere)
                elsewhere = options[i].section;
        } else if (is_close(key, options[i].key) && (!close || distance(key, options[i].key) < distance(key, close))) {
            close = options[i].key;
        }
    }
    char hint[96] = "";
    if (elsewhere)
        snprintf(hint, sizeof hint, "; it belongs in [%s]", elsewhere);
    else if (close)
        snprintf(hint, sizeof hint, "; did you mean '%s'?", close);
    error_set(parse->err, ERROR_USAGE, "unknown key '%s' in [%s%s]%s", strbuf_text(&shown),
            glob ? "namespace " : parse->section, glob ? glob : "", hint);
    strbuf_finish(&shown);
    return -1;
}

/* A key of the section that is being read. */
static int take_key(struct parse *parse, const char *key, const char *value) {
    size_t i = 0;
    while (i < OPTIONS && (strcmp(options[i].section, parse->section) != 0 || strcmp(options[i].key, key) != 0))
        i++;
    if (i == OPTIONS)
        return unknown_key(parse, key);
    const struct option *option = &options[i];
    void *base = parse->of_namespace ? (void *)parse->of_namespace : (void *)parse->config;
    int *line = parse->of_namespace ? &((struct policy_ttl *)(void *)((char *)base + option->offset))->line
                                    : &parse->lines[i];
    if (*line)
        return error_set(parse->err, ERROR_USAGE, "'%s' is set twice, first in line %d", key, *line);
    if (set_option(option, value, parse->line, base, parse->err) < 0)
        return -1;
    *line = parse->line;
    parse->list = option->kind == KIND_LIST ? option : NULL;
    return 0;
}

/* Another line of a list: what it is now is checked as a whole. */
static int go_on(struct parse *parse, const char *value) {
    const char *before = *(char **)(void *)((char *)parse->config + parse->list->offset);
    struct strbuf all = STRBUF_INIT(CONFIG_VALUE_MAX);
    strbuf_add_format(&all, "%s%s%s", before, *before ? " " : "", value);
    int result = strbuf_failed(&all)
                         ? error_nomem(parse->err)
                         : set_option(parse->list, strbuf_text(&all), parse->line, parse->config, parse->err);
    strbuf_finish(&all);
    return result;
}

/* For inih: non-zero is good. Its section is not looked at, for it is cut at 49 bytes. */
static int on_pair(void *arg, const char *section, const char *key, const char *value) {
    (void)section;
    struct parse *parse = arg;
    parse->pending = false;
    int result;
    if (*value == '#' || strstr(value, " #") || strstr(value, "\t#"))
        result = error_set(parse->err, ERROR_USAGE, "a comment behind a value starts with ';', not '#'");
    else
        result = parse->goes_on ? go_on(parse, value) : take_key(parse, key, value);
    if (result < 0)
        fail(parse);
    return result == 0;
}

static const char *check_glob(const char *glob) {
    if (!*glob)
        return "[namespace GLOB] needs a GLOB, such as [namespace ml-*]";
    bool in_set = false;
    for (const char *at = glob; *at; at++) {
        if (*at == '[' || *at == ']') {
            if (in_set != (*at == ']'))
                return "[namespace GLOB] has brackets that do not match";
            in_set = *at == '[';
        } else if (!is_lower_alnum(*at) && !strchr("-*?!^", *at)) {
            return "[namespace GLOB] takes one name of small letters, digits and dashes, with *, ? and [a-z] for "
                   "others";
        }
    }
    return in_set ? "[namespace GLOB] has brackets that do not match" : NULL;
}

static int start_namespace(struct parse *parse, const char *glob) {
    struct policy *policy = &parse->config->policy;
    const char *why = check_glob(glob);
    if (why)
        return error_set(parse->err, ERROR_USAGE, "%s", why);
    for (size_t i = 0; i < policy->n_sections; i++) {
        if (strcmp(policy->sections[i].glob, glob) == 0)
            return error_set(parse->err, ERROR_USAGE, "[namespace %s] is there twice, first in line %d", glob,
                    policy->sections[i].line);
    }
    if (policy->n_sections == CONFIG_SECTIONS_MAX)
        return error_set(parse->err, ERROR_USAGE, "more than %d sections [namespace GLOB]", CONFIG_SECTIONS_MAX);
    struct policy_section *sections = realloc(policy->sections, (policy->n_sections + 1) * sizeof *sections);
    if (!sections)
        return error_nomem(parse->err);
    policy->sections = sections;
    char *copy = strdup(glob);
    if (!copy)
        return error_nomem(parse->err);
    parse->of_namespace = &sections[policy->n_sections++];
    *parse->of_namespace = (struct policy_section){.glob = copy, .line = parse->line};
    parse->section = NAMESPACE_SECTION;
    return 0;
}

static int start_section(struct parse *parse, const char *name) {
    parse->of_namespace = NULL;
    parse->list = NULL;
    if (strncmp(name, "namespace", 9) == 0 && (!name[9] || isspace((unsigned char)name[9])))
        return start_namespace(parse, name + 9 + strspn(name + 9, " \t"));
    const char *close = NULL;
    for (size_t i = 0; i < OPTIONS; i++) {
        if (strcmp(options[i].section, name) == 0) {
            if (parse->section_lines[i])
                return error_set(parse->err, ERROR_USAGE, "[%s] is there twice, first in line %d", name,
                        parse->section_lines[i]);
            parse->section_lines[i] = parse->line;
            parse->section = options[i].section;
            return 0;
        }
        if (is_close(name, options[i].section))
            close = options[i].section;
    }
    struct strbuf shown = STRBUF_INIT(1024);
    text_add_escaped(&shown, name, SHOWN_MAX);
    error_set(parse->err, ERROR_USAGE, "unknown section [%s]%s%s%s", strbuf_text(&shown),
            close ? "; did you mean [" : "", close ? close : "", close ? "]?" : "");
    strbuf_finish(&shown);
    return -1;
}

/* Cut white space, and a comment that stands behind some. */
static void cut_comment(char *text) {
    size_t len = 0;
    for (size_t i = 0; text[i] && (text[i] != ';' || i == 0 || !isspace((unsigned char)text[i - 1])); i++)
        len = isspace((unsigned char)text[i]) ? len : i + 1;
    text[len] = '\0';
}

static int take_header(struct parse *parse, const char *line) {
    char name[512];
    snprintf(name, sizeof name, "%s", line + 1 + strspn(line + 1, " \t"));
    cut_comment(name);
    size_t len = strlen(name);
    if (len == 0 || name[len - 1] != ']')
        return error_set(parse->err, ERROR_USAGE, "a section is written [NAME], alone in its line");
    name[len - 1] = '\0';
    cut_comment(name);
    return start_section(parse, name);
}

/* Whether an indented line belongs to the list above it: it says no key of its own. */
static bool list_goes_on(const struct parse *parse, const char *line, const char *text) {
    return parse->list && text > line && !strpbrk(text, "=:[");
}

/* Looks at a line before inih does. text: the line in inih's buffer, which holds size bytes. */
static int prepare_line(struct parse *parse, const char *line, size_t len, char *text, size_t size) {
    while (len && isspace((unsigned char)line[len - 1]))
        len--;
    for (size_t i = 0; i < len; i++) {
        if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f)
            return error_set(parse->err, ERROR_USAGE, "a control character: this is not a text file in UTF-8");
    }
    if (!text_is_utf8(line, len))
        return error_set(parse->err, ERROR_USAGE, "this is not UTF-8");
    /* A comment may be as long as it likes. */
    size_t blank = 0;
    while (blank < len && isspace((unsigned char)line[blank]))
        blank++;
    text[0] = '\0';
    if (blank == len || line[blank] == ';' || line[blank] == '#')
        return 0;
    if (len + 1 > size)
        return error_set(parse->err, ERROR_USAGE,
                "the line is longer than %zu bytes; a list can go on in the next line, indented", size - 1);
    memcpy(text, line, len);
    text[len] = '\0';
    parse->goes_on = list_goes_on(parse, text, text + blank);
    if (parse->goes_on) {
        cut_comment(text);
    } else {
        /* An indented key would look to inih like more of the value above it. */
        memmove(text, text + blank, len - blank + 1);
        if (text[0] == '[')
            return take_header(parse, text);
        if (!parse->section)
            return error_set(parse->err, ERROR_USAGE, "before the first section: which one is this for?");
    }
    parse->pending = true;
    return 0;
}

/* For inih, as fgets: the next line, NULL at the end. What inih did not understand of the line before shows here. */
static char *read_line(char *text, int size, void *arg) {
    struct parse *parse = arg;
    if (parse->pending && !parse->failed) {
        error_set(parse->err, ERROR_USAGE, "neither [section] nor key = value");
        fail(parse);
    }
    parse->pending = parse->goes_on = false;
    if (parse->failed || parse->at == parse->end)
        return NULL;
    const char *line = parse->at, *eol = memchr(line, '\n', (size_t)(parse->end - line));
    parse->at = eol ? eol + 1 : parse->end;
    parse->line++;
    if (prepare_line(parse, line, (size_t)((eol ? eol : parse->end) - line), text, (size_t)size) < 0) {
        fail(parse);
        return NULL;
    }
    return text;
}

static int parse_text(struct config *config, const char *text, size_t len, struct error *err) {
    static const char bom[] = "\xef\xbb\xbf";
    struct error local = {0};
    struct parse parse = {.config = config, .err = err ? err : &local, .at = text, .end = text + len};
    if (len >= 3 && memcmp(text, bom, 3) == 0)
        parse.at += 3;
    ini_parse_stream(read_line, &parse, on_pair, &parse);
    for (size_t i = 0; i < OPTIONS; i++) {
        if (options[i].offset == AT(cronjob_settle_ms) && strcmp(options[i].section, "sexton") == 0)
            config->policy.cronjob_settle_line = parse.lines[i];
    }
    return parse.failed ? -1 : 0;
}

static int read_file(int fd, struct strbuf *text, const char *path, struct error *err) {
    char chunk[16384];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set(err, ERROR_USAGE, "%s: cannot be read: %s", path, strerror(errno));
        strbuf_add(text, chunk, (size_t)n);
        if (strbuf_failed(text))
            return error_set(err, ERROR_USAGE, "%s: is larger than %u bytes, too large for a configuration", path,
                    CONFIG_BYTES_MAX);
    }
    return 0;
}

static int load_file(struct config *config, struct error *err) {
    int fd = open(config->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, ERROR_USAGE, "%s: cannot be opened: %s", config->path, strerror(errno));
    struct strbuf text = STRBUF_INIT(CONFIG_BYTES_MAX);
    int result = read_file(fd, &text, config->path, err);
    close(fd);
    if (result == 0)
        result = parse_text(config, strbuf_text(&text), text.len, err);
    strbuf_finish(&text);
    return result;
}

static int set_presets(struct config *config, struct error *err) {
    policy_init(&config->policy);
    /* Those texts are static, and ours are freed. */
    config->policy.success.text = config->policy.failure.text = NULL;
    for (size_t i = 0; i < OPTIONS; i++) {
        if (options[i].preset && set_option(&options[i], options[i].preset, 0, config, err) < 0)
            return -1;
    }
    return 0;
}

int config_load(const char *path, struct config **ret, struct error *err) {
    struct config *config = calloc(1, sizeof *config);
    if (!config)
        return error_nomem(err);
    int result = set_presets(config, err);
    if (result == 0 && path) {
        config->path = strdup(path);
        result = config->path ? load_file(config, err) : error_nomem(err);
    }
    if (result < 0) {
        config_destroy(config);
        return -1;
    }
    config->policy.cronjob_settle_ms = config->cronjob_settle_ms;
    *ret = config;
    return 0;
}

int config_set(struct config *config, const char *section, const char *key, const char *value, struct error *err) {
    for (size_t i = 0; i < OPTIONS; i++) {
        if (!options[i].preset || strcmp(options[i].section, section) != 0 || strcmp(options[i].key, key) != 0)
            continue;
        if (set_option(&options[i], value, 0, config, err) < 0)
            return -1;
        config->policy.cronjob_settle_ms = config->cronjob_settle_ms;
        return 0;
    }
    return error_set(err, ERROR_USAGE, "there is no option %s in [%s]", key, section);
}

void config_destroy(struct config *config) {
    if (!config)
        return;
    struct policy *policy = &config->policy;
    for (size_t i = 0; i < policy->n_sections; i++) {
        free(policy->sections[i].glob);
        free((char *)policy->sections[i].success.text);
        free((char *)policy->sections[i].failure.text);
    }
    free(policy->sections);
    free((char *)policy->success.text);
    free((char *)policy->failure.text);
    char *const owned[] = {config->cluster, config->namespaces, config->selector, config->store, config->labels,
            config->annotations, config->path};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        free(owned[i]);
    free(config);
}

/* ---- reload ---- */

#define SWAP(a, b) \
    do { \
        __typeof__(a) swap_ = (a); \
        (a) = (b); \
        (b) = swap_; \
    } while (0)

static void swap_bytes(void *a, void *b, size_t size) {
    char *x = a, *y = b;
    for (size_t i = 0; i < size; i++)
        SWAP(x[i], y[i]);
}

static size_t size_of_kind(enum kind kind) {
    static const size_t sizes[] = {[KIND_TEXT] = sizeof(char *),
            [KIND_LIST] = sizeof(char *),
            [KIND_NUMBER] = sizeof(int64_t),
            [KIND_DURATION] = sizeof(int64_t),
            [KIND_BOOL] = sizeof(bool),
            [KIND_LOG_LEVEL] = sizeof(enum log_level),
            [KIND_LOG_FORMAT] = sizeof(enum log_format),
            [KIND_PREFIX] = ANNOTATION_PREFIX_MAX,
            [KIND_TTL] = sizeof(struct policy_ttl)};
    return sizes[kind];
}

/* What cannot be reloaded is text. */
static const char *text_at(const struct option *option, const struct config *config) {
    const char *at = (const char *)config + option->offset;
    return option->kind == KIND_PREFIX ? at : *(char *const *)(const void *)at;
}

void config_reload(struct config *config, struct config *fresh) {
    for (size_t i = 0; i < OPTIONS; i++) {
        const struct option *option = &options[i];
        if (!option->preset)
            continue; /* swapped with its section, below */
        if (option->reloadable)
            swap_bytes((char *)config + option->offset, (char *)fresh + option->offset, size_of_kind(option->kind));
        else if (strcmp(text_at(option, config), text_at(option, fresh)) != 0)
            log_warn("this change of the configuration waits for a restart", log_text("section", option->section),
                    log_text("key", option->key));
    }
    SWAP(config->policy.sections, fresh->policy.sections);
    SWAP(config->policy.n_sections, fresh->policy.n_sections);
    SWAP(config->policy.cronjob_settle_ms, fresh->policy.cronjob_settle_ms);
    SWAP(config->policy.cronjob_settle_line, fresh->policy.cronjob_settle_line);
}

/* ---- the reference ---- */

static const char *type_text(const struct option *option, char *buf, size_t size) {
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

void config_print_reference(FILE *out) {
    static const char *const columns[] = {"section", "key", "type", "default", "reload", "meaning", NULL};
    struct table *table = table_create(columns, NULL);
    int result = table ? 0 : -1;
    for (size_t i = 0; i < OPTIONS && result == 0; i++) {
        const struct option *option = &options[i];
        char section[32], type[96];
        snprintf(section, sizeof section, "[%s]", option->section);
        const char *const cells[] = {section, option->key, type_text(option, type, sizeof type), option->preset,
                option->reloadable ? "yes" : "no", option->help};
        for (size_t c = 0; c < sizeof cells / sizeof cells[0] && result == 0; c++)
            result = table_add(table, cells[c], NULL);
    }
    if (result == 0)
        result = table_print(table, out, false, NULL);
    table_destroy(table);
    if (result < 0)
        fputs("out of memory\n", out);
}
