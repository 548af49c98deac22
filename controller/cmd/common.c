#include "cmd/common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "base/text.h"

int common_set(struct common *common, const struct option_spec *option, const char *value) {
    const struct {
        const char *name;
        const char **field;
    } ours[] = {
            {"config", &common->config},
            {"kubeconfig", &common->kubeconfig},
            {"context", &common->context},
            {"namespace", &common->namespace},
            {"selector", &common->selector},
            {"store", &common->store},
            {"log-level", &common->log_level},
            {"log-format", &common->log_format},
    };
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (strcmp(ours[i].name, option->name) == 0) {
            *ours[i].field = value;
            return 1;
        }
    }
    return 0;
}

static int lay_over(char **field, const char *value, struct error *err) {
    if (!value)
        return 0;
    char *copy = strdup(value);
    if (!copy)
        return error_nomem(err);
    free(*field);
    *field = copy;
    return 0;
}

static int check_namespaces(const char *list, struct error *err) {
    size_t len;
    bool any = false;
    for (const char *word, *at = list; (word = text_list_next(&at, &len)); any = true) {
        bool good = len <= 63 && word[0] != '-' && word[len - 1] != '-';
        for (size_t i = 0; good && i < len; i++)
            good = (word[i] >= 'a' && word[i] <= 'z') || (word[i] >= '0' && word[i] <= '9') || word[i] == '-';
        if (!good && !(len == 1 && *word == '*'))
            return error_set(err, ERROR_USAGE, "-n: '%.*s' is not the name of a Namespace", (int)len, word);
    }
    return any ? 0 : error_set(err, ERROR_USAGE, "-n: no Namespace is named");
}

int common_load_config(const struct common *common, struct config **ret, struct error *err) {
    struct config *config;
    if (common->namespace && check_namespaces(common->namespace, err) < 0)
        return -1;
    if (config_load(common->config, &config, err) < 0)
        return -1;
    int failed = lay_over(&config->namespaces, common->namespace, err) < 0 ||
                 lay_over(&config->selector, common->selector, err) < 0 ||
                 lay_over(&config->store, common->store, err) < 0;
    if (!failed && common->log_level && !log_level_parse(common->log_level, &config->log_level))
        failed = error_set(err, ERROR_USAGE, "--log-level: '%s' is not debug, info, warn or error", common->log_level);
    if (!failed && common->log_format && !log_format_parse(common->log_format, &config->log_format))
        failed = error_set(err, ERROR_USAGE, "--log-format: '%s' is not logfmt or json", common->log_format);
    if (failed) {
        config_destroy(config);
        return -1;
    }
    *ret = config;
    return 0;
}

int common_fail(const char *command, const struct error *err) {
    struct strbuf text = STRBUF_INIT(ERROR_TEXT_MAX * 5);
    text_add_escaped(&text, err->text, TEXT_ALL);
    fprintf(stderr, "sexton %s: %s\n", command, strbuf_text(&text));
    strbuf_finish(&text);
    return err->kind == ERROR_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

int common_no_operands(int argc, char **argv, int rest, struct error *err) {
    if (rest >= argc)
        return 0;
    return error_set(err, ERROR_USAGE, "unexpected argument '%s'", argv[rest]);
}
