#include "cmd/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/duration.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "cmd/config_options.h"

#define CONFIG_BYTES_MAX (1u << 20)       /* a thousand times a long configuration: more is the wrong file */
#define CONFIG_SECTIONS_MAX 1000          /* [namespace GLOB]: each is looked at for each Job */
#define CONFIG_VALUE_MAX CONFIG_BYTES_MAX /* a list can go on for many lines */
#define SHOWN_MAX 60                      /* characters of a value in a message: enough to recognise it */

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

    const char *section;                   /* as in the table; NULL before the first */
    struct policy_section *of_namespace;   /* in a [namespace GLOB] */
    const struct config_option *list;      /* the list that an indented line would go on with */
    bool goes_on, pending;                 /* this line does; the handler has not seen this line */
    int section_lines[CONFIG_OPTIONS_MAX]; /* where the section of this row started, 0: not yet */
    int lines[CONFIG_OPTIONS_MAX];         /* where the option was set */
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
    for (size_t i = 0; i < config_options_count; i++) {
        if (strcmp(config_options[i].section, parse->section) != 0) {
            if (strcmp(config_options[i].key, key) == 0 && !elsewhere)
                elsewhere = config_options[i].section;
        } else if (is_close(key, config_options[i].key) &&
                   (!close || distance(key, config_options[i].key) < distance(key, close))) {
            close = config_options[i].key;
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
    while (i < config_options_count &&
            (strcmp(config_options[i].section, parse->section) != 0 || strcmp(config_options[i].key, key) != 0))
        i++;
    if (i == config_options_count)
        return unknown_key(parse, key);
    const struct config_option *option = &config_options[i];
    void *base = parse->of_namespace ? (void *)parse->of_namespace : (void *)parse->config;
    int *line = parse->of_namespace ? &((struct policy_ttl *)(void *)((char *)base + option->offset))->line
                                    : &parse->lines[i];
    if (*line)
        return error_set(parse->err, ERROR_USAGE, "'%s' is set twice, first in line %d", key, *line);
    if (config_option_set(option, value, parse->line, base, parse->err) < 0)
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
    int result = strbuf_failed(&all) ? error_nomem(parse->err)
                                     : config_option_set(parse->list, strbuf_text(&all),
                                               parse->lines[parse->list - config_options], parse->config, parse->err);
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
        } else if (!config_is_lower_alnum(*at) && !strchr("-*?!^", *at)) {
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
    parse->section = CONFIG_NAMESPACE_SECTION;
    return 0;
}

static int start_section(struct parse *parse, const char *name) {
    parse->of_namespace = NULL;
    parse->list = NULL;
    if (strncmp(name, "namespace", 9) == 0 && (!name[9] || isspace((unsigned char)name[9])))
        return start_namespace(parse, name + 9 + strspn(name + 9, " \t"));
    const char *close = NULL;
    for (size_t i = 0; i < config_options_count; i++) {
        if (strcmp(config_options[i].section, name) == 0) {
            if (parse->section_lines[i])
                return error_set(parse->err, ERROR_USAGE, "[%s] is there twice, first in line %d", name,
                        parse->section_lines[i]);
            parse->section_lines[i] = parse->line;
            parse->section = config_options[i].section;
            return 0;
        }
        if (is_close(name, config_options[i].section))
            close = config_options[i].section;
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
    config->empty = text.len == 0;
    if (result == 0)
        result = parse_text(config, strbuf_text(&text), text.len, err);
    strbuf_finish(&text);
    return result;
}

static int set_presets(struct config *config, struct error *err) {
    policy_init(&config->policy);
    /* Those texts are static, and ours are freed. */
    config->policy.success.text = config->policy.failure.text = NULL;
    for (size_t i = 0; i < config_options_count; i++) {
        if (config_options[i].preset &&
                config_option_set(&config_options[i], config_options[i].preset, 0, config, err) < 0)
            return -1;
    }
    return 0;
}

/* What no option can say of itself. */
static int check_lease(const struct config *config, struct error *err) {
    char longer[DURATION_TEXT_MAX], shorter[DURATION_TEXT_MAX];
    const char *file = config->path ? config->path : "lease";
    if (config->lease_duration_ms <= config->renew_deadline_ms)
        return error_set(err, ERROR_USAGE, "%s: lease-duration (%s) must be longer than renew-deadline (%s)", file,
                duration_format(config->lease_duration_ms, longer),
                duration_format(config->renew_deadline_ms, shorter));
    if (config->renew_deadline_ms <= config->retry_period_ms)
        return error_set(err, ERROR_USAGE, "%s: renew-deadline (%s) must be longer than retry-period (%s)", file,
                duration_format(config->renew_deadline_ms, longer), duration_format(config->retry_period_ms, shorter));
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
    if (result == 0)
        result = check_lease(config, err);
    if (result < 0) {
        config_destroy(config);
        return -1;
    }
    *ret = config;
    return 0;
}

int config_set(struct config *config, const char *section, const char *key, const char *value, struct error *err) {
    for (size_t i = 0; i < config_options_count; i++) {
        if (!config_options[i].preset || strcmp(config_options[i].section, section) != 0 ||
                strcmp(config_options[i].key, key) != 0)
            continue;
        return config_option_set(&config_options[i], value, 0, config, err);
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
    for (size_t i = 0; i < config_options_count; i++) {
        if (config_options[i].preset)
            config_option_release(&config_options[i], config);
    }
    free(config->path);
    free(config);
}

/* ---- reload ---- */

#define SWAP(a, b) \
    do { \
        __typeof__(a) swap_ = (a); \
        (a) = (b); \
        (b) = swap_; \
    } while (0)

/* Of an option that needs a restart: whether it is as the file has it. Told once a change. */
static void note_restart(struct config *config, size_t at, bool equal) {
    const struct config_option *option = &config_options[at];
    uint64_t bit = UINT64_C(1) << at;
    if (equal == !(config->waiting & bit))
        return;
    config->waiting ^= bit;
    if (equal)
        log_info("this change of the configuration was taken back, and no restart is needed for it",
                log_text("section", option->section), log_text("key", option->key));
    else
        log_warn("this change of the configuration waits for a restart", log_text("section", option->section),
                log_text("key", option->key));
}

void config_reload(struct config *config, struct config *fresh) {
    for (size_t i = 0; i < config_options_count; i++) {
        const struct config_option *option = &config_options[i];
        if (!option->preset)
            continue; /* swapped with its section, below */
        if (option->reloadable)
            config_option_swap(option, config, fresh);
        else
            note_restart(config, i, config_option_equal(option, config, fresh));
    }
    SWAP(config->policy.sections, fresh->policy.sections);
    SWAP(config->policy.n_sections, fresh->policy.n_sections);
    SWAP(config->empty, fresh->empty);
}
