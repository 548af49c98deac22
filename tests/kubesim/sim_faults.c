#include "sim_faults.h"

#include "sim_util.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct rule {
    char *verb; /* patterns of fnmatch(3); NULL matches everything */
    char *resource;
    char *ns;
    char *name;
    char *path;
    int64_t skip;
    int64_t times; /* -1: without limit */
    int64_t hits;
    bool live;
    struct sim_action *action;
    json_t *source;
    struct rule *next;
};

struct sim_faults {
    struct rule *rules;
};

struct sim_faults *sim_faults_create(void) {
    return sim_alloc(sizeof(struct sim_faults));
}

struct sim_action *sim_action_ref(struct sim_action *action) {
    atomic_fetch_add(&action->refs, 1);
    return action;
}

void sim_action_unref(struct sim_action *action) {
    if (!action || atomic_fetch_sub(&action->refs, 1) != 1)
        return;
    free(action->message);
    free(action->reason);
    free(action->content_type);
    free(action->body);
    free(action->retry_after);
    free(action->raw);
    free(action);
}

static void rule_destroy(struct rule *rule) {
    free(rule->verb);
    free(rule->resource);
    free(rule->ns);
    free(rule->name);
    free(rule->path);
    sim_action_unref(rule->action);
    json_decref(rule->source);
    free(rule);
}

void sim_faults_clear(struct sim_faults *faults) {
    while (faults->rules) {
        struct rule *next = faults->rules->next;

        rule_destroy(faults->rules);
        faults->rules = next;
    }
}

void sim_faults_destroy(struct sim_faults *faults) {
    if (!faults)
        return;
    sim_faults_clear(faults);
    free(faults);
}

static bool take_string(const json_t *value, char **out, size_t *out_length) {
    if (!json_is_string(value))
        return false;
    free(*out);
    *out = sim_alloc(json_string_length(value) + 1);
    memcpy(*out, json_string_value(value), json_string_length(value));
    if (out_length)
        *out_length = json_string_length(value);
    return true;
}

static bool take_base64(const json_t *value, char **out, size_t *out_length) {
    const char *text = json_string_value(value);
    size_t length = 0;
    char *data = text ? sim_base64_decode(text, &length) : NULL;

    if (!data)
        return false;
    free(*out);
    *out = data;
    *out_length = length;
    return true;
}

static bool take_number(const json_t *value, int64_t *out) {
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *out = json_integer_value(value);
    return true;
}

static bool take_bool(const json_t *value, bool *out) {
    *out = json_is_true(value);
    return json_is_boolean(value);
}

static bool action_take(struct sim_action *action, const char *key, const json_t *value) {
    static const struct {
        const char *key;
        size_t offset;
    } numbers[] =
            {
                    {"truncateAfter", offsetof(struct sim_action, truncate_after)},
                    {"stallAfter", offsetof(struct sim_action, stall_after)},
                    {"delayMs", offsetof(struct sim_action, delay_ms)},
                    {"bytesPerWrite", offsetof(struct sim_action, bytes_per_write)},
                    {"writeEveryMs", offsetof(struct sim_action, write_every_ms)},
                    {"watchEndAfterMs", offsetof(struct sim_action, watch_end_after_ms)},
            },
      switches[] = {
              {"drop", offsetof(struct sim_action, drop)},
              {"applyThenDrop", offsetof(struct sim_action, apply_then_drop)},
              {"reset", offsetof(struct sim_action, reset)},
              {"watchGone", offsetof(struct sim_action, watch_gone)},
              {"duplicateEvents", offsetof(struct sim_action, duplicate)},
              {"reorderEvents", offsetof(struct sim_action, reorder)},
              {"deny", offsetof(struct sim_action, deny)},
      };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strcmp(key, numbers[i].key) == 0)
            return take_number(value, (int64_t *)(void *)((char *)action + numbers[i].offset));
    }
    for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
        if (strcmp(key, switches[i].key) == 0)
            return take_bool(value, (bool *)(void *)((char *)action + switches[i].offset));
    }
    if (strcmp(key, "status") == 0) {
        int64_t status = 0;

        if (!take_number(value, &status) || status < 200 || status > 599)
            return false;
        action->status = (int)status;
        return true;
    }
    if (strcmp(key, "retryAfter") == 0) {
        if (json_is_string(value))
            return take_string(value, &action->retry_after, NULL);
        free(action->retry_after);
        action->retry_after = sim_format("%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return json_is_integer(value);
    }
    if (strcmp(key, "message") == 0)
        return take_string(value, &action->message, NULL);
    if (strcmp(key, "reason") == 0)
        return take_string(value, &action->reason, NULL);
    if (strcmp(key, "contentType") == 0)
        return take_string(value, &action->content_type, NULL);
    if (strcmp(key, "body") == 0)
        return take_string(value, &action->body, &action->body_length);
    if (strcmp(key, "bodyBase64") == 0)
        return take_base64(value, &action->body, &action->body_length);
    if (strcmp(key, "raw") == 0)
        return take_string(value, &action->raw, &action->raw_length);
    if (strcmp(key, "rawBase64") == 0)
        return take_base64(value, &action->raw, &action->raw_length);
    return false;
}

static bool rule_take_match(struct rule *rule, const json_t *match, char **ret_error) {
    const char *key;
    json_t *value;

    json_object_foreach ((json_t *)match, key, value) {
        char **field = strcmp(key, "verb") == 0        ? &rule->verb
                       : strcmp(key, "resource") == 0  ? &rule->resource
                       : strcmp(key, "namespace") == 0 ? &rule->ns
                       : strcmp(key, "name") == 0      ? &rule->name
                       : strcmp(key, "path") == 0      ? &rule->path
                                                       : NULL;

        if (!field || !take_string(value, field, NULL)) {
            *ret_error = sim_format("match.%s: not known, or not a string", key);
            return false;
        }
    }
    return true;
}

static bool rule_take(struct rule *rule, const json_t *source, char **ret_error) {
    const char *key;
    json_t *value;

    json_object_foreach ((json_t *)source, key, value) {
        bool good;

        if (strcmp(key, "match") == 0) {
            if (!rule_take_match(rule, value, ret_error))
                return false;
            good = json_is_object(value);
        } else if (strcmp(key, "times") == 0) {
            good = take_number(value, &rule->times);
        } else if (strcmp(key, "skip") == 0) {
            good = take_number(value, &rule->skip);
        } else if (strcmp(key, "live") == 0) {
            good = take_bool(value, &rule->live);
        } else if (strcmp(key, "action") == 0) {
            const char *name;
            json_t *argument;

            good = json_object_size(value) > 0;
            json_object_foreach (value, name, argument) {
                if (action_take(rule->action, name, argument))
                    continue;
                *ret_error = sim_format("action.%s: not known, or of the wrong type or range", name);
                return false;
            }
        } else {
            good = false;
        }
        if (!good) {
            *ret_error = sim_format("%s: not known, or of the wrong type", key);
            return false;
        }
    }
    if (!json_object_get(source, "action")) {
        *ret_error = sim_strdup("a rule needs an action");
        return false;
    }
    return true;
}

static struct rule *rule_parse(const json_t *source, char **ret_error) {
    struct rule *rule = sim_alloc(sizeof(*rule));

    rule->times = -1;
    rule->source = json_deep_copy(source);
    rule->action = sim_alloc(sizeof(*rule->action));
    atomic_init(&rule->action->refs, 1);
    rule->action->truncate_after = -1;
    rule->action->stall_after = -1;
    rule->action->watch_end_after_ms = -1;
    if (!json_is_object(source)) {
        *ret_error = sim_strdup("a rule is an object");
        rule_destroy(rule);
        return NULL;
    }
    if (!rule_take(rule, source, ret_error)) {
        rule_destroy(rule);
        return NULL;
    }
    return rule;
}

bool sim_faults_add(struct sim_faults *faults, const json_t *rules, char **ret_error) {
    struct sim_faults fresh = {NULL};
    struct rule **end = &fresh.rules;
    json_t *source;
    size_t i;

    if (!json_is_array(rules)) {
        *ret_error = sim_strdup("the rules are an array");
        return false;
    }
    json_array_foreach (rules, i, source) {
        char *error = NULL;

        *end = rule_parse(source, &error);
        if (!*end) {
            *ret_error = sim_format("rule %zu: %s", i, error);
            free(error);
            sim_faults_clear(&fresh);
            return false;
        }
        end = &(*end)->next;
    }
    for (end = &faults->rules; *end;)
        end = &(*end)->next;
    *end = fresh.rules;
    return true;
}

json_t *sim_faults_list(const struct sim_faults *faults) {
    json_t *list = json_array();

    for (const struct rule *rule = faults->rules; rule; rule = rule->next) {
        json_t *copy = json_copy(rule->source);

        json_object_set_new(copy, "hits", json_integer(rule->hits));
        json_array_append_new(list, copy);
    }
    return list;
}

static bool pattern_match(const char *pattern, const char *value) {
    return !pattern || fnmatch(pattern, value, 0) == 0;
}

static bool rule_match(const struct rule *rule, const struct sim_call *call) {
    return pattern_match(rule->verb, call->verb) && pattern_match(rule->resource, call->resource) &&
           pattern_match(rule->ns, call->ns) && pattern_match(rule->name, call->name) &&
           pattern_match(rule->path, call->path);
}

static struct sim_action *faults_take(struct sim_faults *faults, const struct sim_call *call, bool live) {
    for (struct rule *rule = faults->rules; rule; rule = rule->next) {
        if ((live && !rule->live) || rule->times == 0 || !rule_match(rule, call))
            continue;
        if (rule->skip > 0) {
            rule->skip--;
            continue;
        }
        if (rule->times > 0)
            rule->times--;
        rule->hits++;
        return sim_action_ref(rule->action);
    }
    return NULL;
}

struct sim_action *sim_faults_take(struct sim_faults *faults, const struct sim_call *call) {
    return faults_take(faults, call, false);
}

struct sim_action *sim_faults_take_live(struct sim_faults *faults, const struct sim_call *call) {
    return faults_take(faults, call, true);
}

bool sim_faults_denied(const struct sim_faults *faults, const struct sim_call *call) {
    for (const struct rule *rule = faults->rules; rule; rule = rule->next) {
        if (rule->action->deny && rule->times != 0 && rule_match(rule, call))
            return true;
    }
    return false;
}
