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
            {"leader-elect", &common->leader_elect},
            {"log-level", &common->log_level},
            {"log-format", &common->log_format},
            {"listen", &common->listen},
    };
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (strcmp(ours[i].name, option->name) == 0) {
            *ours[i].field = value;
            return 1;
        }
    }
    return 0;
}

int common_load_config(const struct common *common, struct config **ret, struct error *err) {
    struct config *config;
    const struct {
        const char *option, *section, *key, *value;
    } laid_over[] = {
            {"-n", "sexton", "namespaces", common->namespace},
            {"-l", "sexton", "selector", common->selector},
            {"--store", "history", "store", common->store},
            {"--leader-elect", "sexton", "leader-elect", common->leader_elect},
            {"--log-level", "sexton", "log-level", common->log_level},
            {"--log-format", "sexton", "log-format", common->log_format},
            {"--listen", "serve", "listen", common->listen},
    };
    if (config_load(common->config, &config, err) < 0)
        return -1;
    for (size_t i = 0; i < sizeof laid_over / sizeof laid_over[0]; i++) {
        if (!laid_over[i].value ||
                config_set(config, laid_over[i].section, laid_over[i].key, laid_over[i].value, err) == 0)
            continue;
        error_context(err, "%s", laid_over[i].option);
        config_destroy(config);
        return -1;
    }
    *ret = config;
    return 0;
}

int common_fail(const char *command, const struct error *err) {
    struct strbuf text = STRBUF_INIT(ERROR_TEXT_MAX * 5);
    text_add_escaped(&text, err->text, TEXT_ALL);
    fprintf(stderr, "sexton %s: %s\n", command, text.no_memory ? "out of memory" : strbuf_text(&text));
    strbuf_finish(&text);
    return err->kind == ERROR_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

int common_no_operands(int argc, char **argv, int rest, struct error *err) {
    if (rest >= argc)
        return 0;
    return error_set(err, ERROR_USAGE, "unexpected argument '%s'", argv[rest]);
}
