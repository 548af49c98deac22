#include "jobs/policy.h"

#include <fnmatch.h>
#include <string.h>

#include "base/clock.h"
#include "base/duration.h"
#include "base/text.h"
#include "base/timestamp.h"

#define VALUE_SHOWN 48 /* characters of a value in tables and logs: enough to recognise it */

static const char *const rule_names[] = {[RULE_SUCCESS] = "ttl-after-success",
        [RULE_FAILURE] = "ttl-after-failure",
        [RULE_HOLD] = "hold",
        [RULE_SPEC_TTL] = "ttlSecondsAfterFinished",
        [RULE_CRONJOB_SETTLE] = "cronjob-settle",
        [RULE_TERMINATING] = "deletionTimestamp",
        [RULE_OWNER] = "owner",
        [RULE_RECREATE_LIMIT] = "recreate-limit"};

void policy_init(struct policy *policy) {
    *policy = (struct policy){
            .prefix = "sexton.dev",
            .success = {.ms = 0, .text = "0s"},
            .failure = {.ms = 24 * 3600 * 1000LL, .text = "24h"},
            .cronjob_settle_ms = 60000,
            .keep_hooks = true,
            .recreate_limit = 3,
    };
}

/* How well a glob fits a name: -1 not at all; an exact name beats every pattern; then the more literal characters win.
 */
static int match_score(const char *glob, const char *name) {
    if (strcmp(glob, name) == 0)
        return INT32_MAX;
    if (fnmatch(glob, name, 0) != 0)
        return -1;
    int literal = 0;
    bool in_set = false; /* what may stand in a place is no literal character: [a-z]* must not beat m* */
    for (; *glob; glob++) {
        if (*glob == '[' || *glob == ']')
            in_set = *glob == '[';
        else
            literal += !in_set && !strchr("*?", *glob);
    }
    return literal;
}

/* The TTL of the best matching section that sets this key, else of [policy]. */
static const struct policy_ttl *configured_ttl(const struct policy *policy, const char *namespace, enum rule_key key) {
    const struct policy_ttl *best = key == RULE_SUCCESS ? &policy->success : &policy->failure;
    int best_score = -1;
    for (size_t i = 0; i < policy->n_sections; i++) {
        const struct policy_section *section = &policy->sections[i];
        const struct policy_ttl *ttl = key == RULE_SUCCESS ? &section->success : &section->failure;
        int score = ttl->text ? match_score(section->glob, namespace) : -1;
        if (score > best_score) {
            best = ttl;
            best_score = score;
        }
    }
    return best;
}

static struct decision keep(enum reason reason, const char *why) {
    return (struct decision){
            .action = ACTION_KEEP, .reason = reason, .due_ms = DUE_NEVER, .why = why, .rule = {.ttl_ms = RUN_UNKNOWN}};
}

static struct decision keep_for_rule(enum reason reason, const struct policy_rule *rule, const char *why) {
    struct decision decision = keep(reason, why);
    decision.rule = *rule;
    return decision;
}

static struct decision keep_terminating(const struct job *job) {
    const struct policy_rule rule = {
            .key = RULE_TERMINATING, .source = SOURCE_METADATA, .job = job, .ttl_ms = RUN_UNKNOWN};
    return keep_for_rule(REASON_TERMINATING, &rule, NULL);
}

/* key: which one it was; the first that is not understood when that is not known. */
static struct decision keep_not_understood(const struct annotations *a, enum rule_source source, const char *key) {
    bool first = !key || strcmp(key, a->bad_key) == 0;
    const char *value = first                                        ? a->bad_value
                        : strcmp(key, rule_names[RULE_HOLD]) == 0    ? a->hold.text
                        : strcmp(key, rule_names[RULE_SUCCESS]) == 0 ? a->success.text
                                                                     : a->failure.text;
    struct policy_rule rule = {.key = RULE_UNKNOWN_KEY,
            .source = source,
            .name = first ? a->bad_key : key,
            .value = value,
            .ttl_ms = RUN_UNKNOWN};
    return keep_for_rule(REASON_NOT_UNDERSTOOD, &rule, first ? a->bad_why : "cannot be understood");
}

static struct policy_rule ttl_rule_of(const struct annotation_ttl *ttl, enum rule_key key, enum rule_source source) {
    return (struct policy_rule){.key = key, .source = source, .value = ttl->text, .ttl_ms = ttl->ms};
}

static const struct annotation_ttl *own_ttl(const struct job *job, enum rule_key key) {
    return key == RULE_SUCCESS ? &job->annotations.success : &job->annotations.failure;
}

/* Precedence, key by key: Job annotation, spec, Namespace annotation, [namespace GLOB], [policy], built in. */
static struct policy_rule find_ttl_rule(
        const struct policy *policy, const struct job *job, const struct annotations *of_namespace, enum rule_key key) {
    bool success = key == RULE_SUCCESS;
    const struct annotation_ttl *own = own_ttl(job, key);
    if (own->state == ANNOTATION_SET)
        return ttl_rule_of(own, key, SOURCE_ANNOTATION);
    if (job->spec_ttl_s != SPEC_TTL_NONE)
        return (struct policy_rule){.key = RULE_SPEC_TTL, .source = SOURCE_SPEC, .ttl_ms = job->spec_ttl_s * 1000};
    const struct annotation_ttl *theirs = !of_namespace ? NULL
                                          : success     ? &of_namespace->success
                                                        : &of_namespace->failure;
    if (theirs && theirs->state == ANNOTATION_SET)
        return ttl_rule_of(theirs, key, SOURCE_NAMESPACE);
    const struct policy_ttl *configured = configured_ttl(policy, job->namespace, key);
    return (struct policy_rule){.key = key,
            .source = configured->line ? SOURCE_CONFIG : SOURCE_DEFAULT,
            .line = configured->line,
            .value = configured->text,
            .ttl_ms = configured->ms};
}

/* What is not understood on a Namespace keeps the Jobs that it would have decided, and an unknown key all of them.
 * ret_key: the key at fault, NULL when that is not known. */
static bool namespace_is_unclear(
        const struct annotations *a, const struct job *job, enum rule_key key, const char **ret_key) {
    if (!a || !a->bad_key)
        return false;
    bool success = key == RULE_SUCCESS;
    const struct annotation_ttl *own = own_ttl(job, key);
    const struct annotation_ttl *theirs = success ? &a->success : &a->failure;
    bool decided_before = own->state == ANNOTATION_SET || job->spec_ttl_s != SPEC_TTL_NONE;
    if (a->hold.state == ANNOTATION_INVALID && job->annotations.hold.state == ANNOTATION_ABSENT)
        *ret_key = rule_names[RULE_HOLD];
    else if (theirs->state == ANNOTATION_INVALID && !decided_before)
        *ret_key = rule_names[key];
    else
        return a->unknown_key;
    return true;
}

struct hold {
    int64_t until_ms; /* TIME_NONE: not held */
    struct policy_rule rule;
};

static struct hold find_hold(const struct job *job, const struct annotations *of_namespace) {
    const struct annotation_hold *own = &job->annotations.hold;
    bool from_job = own->state == ANNOTATION_SET;
    const struct annotation_hold *hold = from_job ? own : of_namespace ? &of_namespace->hold : NULL;
    if (!hold || hold->state != ANNOTATION_SET)
        return (struct hold){.until_ms = TIME_NONE};
    return (struct hold){.until_ms = hold->until_ms,
            .rule = {.key = RULE_HOLD,
                    .source = from_job ? SOURCE_ANNOTATION : SOURCE_NAMESPACE,
                    .value = hold->text,
                    .ttl_ms = RUN_UNKNOWN}};
}

/* Left to whoever made it: a tool whose hook it is, or an owner that may create it and run it again. Not so when the
 * object itself says how long it stays, by our annotation or by its spec: the latter is its maker's own word, by which
 * the cluster would delete it without us. What stands around it (Namespace, configuration) does not speak of it. */
static bool is_left_to_its_maker(
        const struct policy *policy, const struct job *job, const struct policy_rule *rule, struct decision *ret) {
    char owner[OWNER_TEXT_MAX];
    if (rule->source == SOURCE_ANNOTATION || rule->source == SOURCE_SPEC)
        return false;
    if (job->hook_tool != HOOK_NONE && policy->keep_hooks) {
        const struct policy_rule hook = {.key = RULE_HOOK,
                .source = SOURCE_ANNOTATION,
                .name = hook_annotation((enum hook_tool)job->hook_tool),
                .value = job->hook,
                .ttl_ms = RUN_UNKNOWN};
        *ret = keep_for_rule(REASON_HOOK, &hook, NULL);
        return true;
    }
    if (!job->owner_kind || job_has_cronjob(job))
        return false;
    if (policy->owners && (text_matches_list(policy->owners, job->owner_kind) ||
                                  text_matches_list(policy->owners, job_owner_text(job, owner))))
        return false;
    const struct policy_rule owned = {.key = RULE_OWNER, .source = SOURCE_OWNER, .job = job, .ttl_ms = RUN_UNKNOWN};
    *ret = keep_for_rule(REASON_OWNED, &owned, NULL);
    return true;
}

/* Its CronJob has not taken note of its end. */
static void wait_for_cronjob(const struct policy *policy, const struct job *job, struct decision *decision) {
    int64_t settled_ms = job->finished_ms + policy->cronjob_settle_ms;
    if (settled_ms <= decision->due_ms)
        return;
    decision->due_ms = settled_ms;
    decision->reason = REASON_CRONJOB_SETTLING;
    decision->rule = (struct policy_rule){.key = RULE_CRONJOB_SETTLE,
            .source = policy->cronjob_settle_line ? SOURCE_CONFIG : SOURCE_DEFAULT,
            .line = policy->cronjob_settle_line,
            .ttl_ms = policy->cronjob_settle_ms};
}

/* Something creates the Job again whenever we delete it. An annotation of its own says that it is to go all the same:
 * then it does, but as seldom as at the last step. */
static void back_off(const struct policy *policy, const struct job *job, int recreated, struct decision *decision) {
    const struct policy_rule rule = {.key = RULE_RECREATE_LIMIT,
            .source = policy->recreate_limit_line ? SOURCE_CONFIG : SOURCE_DEFAULT,
            .line = policy->recreate_limit_line,
            .limit = policy->recreate_limit,
            .ttl_ms = RUN_UNKNOWN};
    int64_t step = recreated - policy->recreate_limit;
    if (step >= RECREATED_WAITS && decision->rule.source != SOURCE_ANNOTATION) {
        *decision = keep_for_rule(REASON_RECREATED_KEPT, &rule, NULL);
        decision->recreated = recreated;
        return;
    }
    int64_t until_ms =
            job->finished_ms + (RECREATED_WAIT_FIRST_MS << (step < RECREATED_WAITS ? step : RECREATED_WAITS - 1));
    if (until_ms <= decision->due_ms)
        return;
    decision->due_ms = until_ms;
    decision->reason = REASON_RECREATED;
    decision->rule = rule;
    decision->recreated = recreated;
}

struct decision policy_decide(
        const struct policy *policy, const struct job *job, const struct guards *guards, int64_t now_ms) {
    if (job->doubt)
        return keep(REASON_DOUBT, job->doubt);
    if (!job_is_finished(job))
        return (struct decision){.action = ACTION_NONE,
                .reason = REASON_NOT_FINISHED,
                .due_ms = TIME_NONE,
                .rule = {.ttl_ms = RUN_UNKNOWN}};
    if (job->deletion_ms != TIME_NONE)
        return keep_terminating(job);
    if (job->annotations.bad_key)
        return keep_not_understood(&job->annotations, SOURCE_ANNOTATION, NULL);
    if (guards->namespace == NAMESPACE_UNKNOWN)
        return keep(REASON_NAMESPACE_UNKNOWN, NULL);
    const struct annotations *of_namespace =
            guards->namespace == NAMESPACE_KNOWN ? guards->namespace_annotations : NULL;
    enum rule_key key = job->outcome == OUTCOME_SUCCEEDED ? RULE_SUCCESS : RULE_FAILURE;
    const char *unclear = NULL;
    if (namespace_is_unclear(of_namespace, job, key, &unclear))
        return keep_not_understood(of_namespace, SOURCE_NAMESPACE, unclear);

    struct hold hold = find_hold(job, of_namespace);
    if (hold.until_ms == HOLD_FOREVER)
        return keep_for_rule(REASON_HELD, &hold.rule, NULL);
    struct policy_rule rule = find_ttl_rule(policy, job, of_namespace, key);
    if (rule.ttl_ms == DURATION_NEVER)
        return keep_for_rule(REASON_NEVER, &rule, NULL);

    struct decision decision;
    if (is_left_to_its_maker(policy, job, &rule, &decision))
        return decision;

    /* No sum can overflow: times are within years 1 to 9999, TTLs within a century. */
    decision = (struct decision){.rule = rule, .due_ms = job->finished_ms + rule.ttl_ms, .reason = REASON_TTL_RUNNING};
    if (policy->recreate_limit > 0 && guards->recreated >= policy->recreate_limit) {
        back_off(policy, job, guards->recreated, &decision);
        if (decision.action == ACTION_KEEP)
            return decision;
    }
    if (guards->cronjob_active || guards->cronjob_behind)
        wait_for_cronjob(policy, job, &decision);
    if (hold.until_ms != TIME_NONE && hold.until_ms > decision.due_ms) {
        decision.due_ms = hold.until_ms;
        decision.reason = REASON_HELD_UNTIL;
        decision.rule = hold.rule;
    }
    /* A finish in the future waits, whatever its TTL. */
    if (now_ms >= decision.due_ms && now_ms >= job->finished_ms) {
        decision.action = ACTION_DELETE;
        decision.reason = REASON_TTL_PASSED;
    } else {
        decision.action = ACTION_WAIT;
    }
    return decision;
}

bool policy_rule_text(const struct policy_rule *rule, struct strbuf *buf) {
    char text[DURATION_TEXT_MAX], time[TIMESTAMP_TEXT_MAX], owner[OWNER_TEXT_MAX];
    switch (rule->key) {
    case RULE_NONE:
        return false;
    case RULE_SPEC_TTL:
        strbuf_add_format(buf, "%s=%lld", rule_names[rule->key], (long long)(rule->ttl_ms / 1000));
        return true;
    case RULE_CRONJOB_SETTLE:
        strbuf_add_format(buf, "%s=%s", rule_names[rule->key], duration_format(rule->ttl_ms, text));
        return true;
    case RULE_RECREATE_LIMIT:
        strbuf_add_format(buf, "%s=%lld", rule_names[rule->key], (long long)rule->limit);
        return true;
    case RULE_TERMINATING:
        strbuf_add_format(buf, "%s=%s", rule_names[rule->key], timestamp_format(rule->job->deletion_ms, time));
        return true;
    case RULE_OWNER:
        strbuf_add_format(buf, "%s=", rule_names[rule->key]);
        text_add_escaped(buf, job_owner_text(rule->job, owner), OWNER_TEXT_MAX);
        return true;
    case RULE_UNKNOWN_KEY:
    case RULE_HOOK:
        text_add_escaped(buf, rule->name, VALUE_SHOWN);
        break;
    case RULE_SUCCESS:
    case RULE_FAILURE:
    case RULE_HOLD:
        strbuf_add_text(buf, rule_names[rule->key]);
        break;
    }
    strbuf_add_char(buf, '=');
    text_add_escaped(buf, rule->value ? rule->value : "", VALUE_SHOWN);
    return true;
}

bool policy_source_text(const struct policy_rule *rule, struct strbuf *buf) {
    static const char *const sources[] = {[SOURCE_ANNOTATION] = "annotation",
            [SOURCE_SPEC] = "spec",
            [SOURCE_NAMESPACE] = "namespace annotation",
            [SOURCE_OWNER] = "owner reference",
            [SOURCE_METADATA] = "metadata",
            [SOURCE_DEFAULT] = "default"};
    if (rule->source == SOURCE_NONE)
        return false;
    if (rule->source == SOURCE_CONFIG)
        strbuf_add_format(buf, "config:%d", rule->line);
    else
        strbuf_add_text(buf, sources[rule->source]);
    return true;
}

const char *action_name(enum action action) {
    static const char *const actions[] = {"none", "wait", "keep", "delete"};
    return actions[action];
}

static const char *outcome_verb(const struct job *job) {
    return job->outcome == OUTCOME_SUCCEEDED ? "succeeded" : "failed";
}

static void explain_recreated(const struct decision *decision, struct strbuf *buf) {
    strbuf_add_format(buf, "created again %d time%s right after its deletion: something (GitOps?) re-creates it",
            decision->recreated, decision->recreated == 1 ? "" : "s");
}

/* For how long it has been asked to go, and what it waits for. */
static void explain_terminating(const struct job *job, int64_t now_ms, struct strbuf *buf) {
    char span[DURATION_TEXT_MAX];
    int64_t ms = now_ms > job->deletion_ms ? now_ms - job->deletion_ms : 0;
    strbuf_add_format(buf, "terminating for %s", duration_format(ms, span));
    if (!job->finalizers)
        return;
    strbuf_add_text(buf, ", waits for its finalizers: ");
    text_add_escaped(buf, job->finalizers, TEXT_ALL);
}

static void explain_wait(const struct decision *decision, const struct job *job, int64_t now_ms, struct strbuf *buf) {
    char span[DURATION_TEXT_MAX], text[TIMESTAMP_TEXT_MAX];
    const char *left = duration_format(decision->due_ms > now_ms ? decision->due_ms - now_ms : 0, span);
    switch (decision->reason) {
    case REASON_HELD_UNTIL:
        strbuf_add_format(buf, "held until %s, %s from now", timestamp_format(decision->due_ms, text), left);
        break;
    case REASON_CRONJOB_SETTLING:
        strbuf_add_format(buf, "its CronJob has not taken note of the end yet; waits for that, %s at most", left);
        break;
    case REASON_RECREATED:
        explain_recreated(decision, buf);
        strbuf_add_format(buf, "; waits %s", left);
        break;
    default:
        if (job->finished_ms > now_ms)
            strbuf_add_format(buf, "its finish time lies in the future; due %s from now", left);
        else
            strbuf_add_format(buf, "%s; its time is up in %s", outcome_verb(job), left);
    }
}

void policy_explain(const struct decision *decision, const struct job *job, int64_t now_ms, struct strbuf *buf) {
    char span[DURATION_TEXT_MAX];
    switch (decision->reason) {
    case REASON_NOT_FINISHED:
        strbuf_add_text(buf, "has not finished");
        if (job->deletion_ms != TIME_NONE) {
            strbuf_add_text(buf, "; ");
            explain_terminating(job, now_ms, buf);
        }
        break;
    case REASON_TTL_PASSED:
        strbuf_add_format(
                buf, "%s; its time was up %s ago", outcome_verb(job), duration_format(now_ms - decision->due_ms, span));
        break;
    case REASON_TTL_RUNNING:
    case REASON_HELD_UNTIL:
    case REASON_CRONJOB_SETTLING:
    case REASON_RECREATED:
        explain_wait(decision, job, now_ms, buf);
        break;
    case REASON_HELD:
        strbuf_add_text(buf, "held until the hold is taken away");
        break;
    case REASON_NEVER:
        strbuf_add_format(buf, "%s Jobs are never deleted by this rule", outcome_verb(job));
        break;
    case REASON_NOT_UNDERSTOOD:
        strbuf_add_text(buf, "kept because ");
        policy_rule_text(&decision->rule, buf);
        strbuf_add_format(buf, " %s", decision->why);
        break;
    case REASON_DOUBT:
        strbuf_add_format(buf, "kept because %s", decision->why);
        break;
    case REASON_TERMINATING:
        explain_terminating(job, now_ms, buf);
        break;
    case REASON_NAMESPACE_UNKNOWN:
        strbuf_add_text(buf, "kept because its Namespace, which may hold it, cannot be read");
        break;
    case REASON_HOOK:
        strbuf_add_format(buf, "left to %s, whose hook it is", hook_tool_name((enum hook_tool)job->hook_tool));
        break;
    case REASON_OWNED:
        strbuf_add_text(buf, "left to ");
        text_add_escaped(buf, job->owner_kind, VALUE_SHOWN);
        strbuf_add_char(buf, '/');
        text_add_escaped(buf, job->owner_name, VALUE_SHOWN);
        strbuf_add_text(buf, ", which may create it and run it again");
        break;
    case REASON_RECREATED_KEPT:
        explain_recreated(decision, buf);
        strbuf_add_text(buf, "; kept");
        break;
    }
}

/* As much as fits, cut between characters: the register keeps text, and half of a character is none. */
static void copy_text(char *to, size_t size, const char *text) {
    size_t len = strlen(text);
    if (len >= size) {
        len = size - 1;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--;
    }
    memcpy(to, text, len);
    to[len] = '\0';
}

void policy_to_run(const struct decision *decision, struct run_policy *ret) {
    bool goes = decision->action == ACTION_WAIT || decision->action == ACTION_DELETE;
    *ret = (struct run_policy){.state = goes ? RUN_DUE : RUN_KEPT,
            .ttl_ms = decision->rule.ttl_ms,
            .due_at_ms = goes ? decision->due_ms : TIME_NONE};
    struct strbuf text = STRBUF_INIT(1024);
    if (policy_rule_text(&decision->rule, &text))
        copy_text(ret->rule, sizeof ret->rule, strbuf_text(&text));
    strbuf_clear(&text);
    if (policy_source_text(&decision->rule, &text))
        copy_text(ret->source, sizeof ret->source, strbuf_text(&text));
    strbuf_finish(&text);
}
