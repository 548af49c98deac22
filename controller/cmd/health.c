#include "cmd/health.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/duration.h"
#include "base/error.h"
#include "base/text.h"

#define SHOWN_MAX 400 /* characters of what others said */

struct report {
    struct strbuf *out;
    bool good;
};

static void tell(struct report *report, bool good, const char *name, const char *format, ...) printf_like(4, 5);

static void tell(struct report *report, bool good, const char *name, const char *format, ...) {
    report->good = report->good && good;
    if (!report->out)
        return;
    char text[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    strbuf_add_format(report->out, "%s %s", good ? "ok" : "not ok", name);
    if (*text) {
        strbuf_add_text(report->out, ": ");
        text_add_escaped(report->out, text, TEXT_ALL);
    }
    strbuf_add_char(report->out, '\n');
}

static const char *seconds(int64_t ms, char buf[DURATION_TEXT_MAX]) {
    return duration_format(ms - ms % 1000, buf);
}

static const char *in_namespace(const struct health_feed *feed, char buf[128]) {
    snprintf(buf, 128, "%s%s", feed->namespace ? " in " : "", feed->namespace ? feed->namespace : "");
    return buf;
}

/* ---- alive ---- */

bool health_is_alive(const struct health_facts *facts, struct strbuf *out) {
    struct report report = {.out = out, .good = true};
    char time[DURATION_TEXT_MAX], where[128];
    const struct health_feed *stuck = &facts->stuck;
    tell(&report, true, "loop", "%s", "");
    if (stuck->resource && stuck->for_ms >= HEALTH_STUCK_MS)
        tell(&report, false, "watches", "that of %s%s is silent, and should have ended %s ago", stuck->resource,
                in_namespace(stuck, where), seconds(stuck->for_ms, time));
    else
        tell(&report, true, "watches", "%s", "");
    return report.good;
}

/* ---- ready ---- */

static void tell_api(struct report *report, const struct health_facts *facts) {
    char time[DURATION_TEXT_MAX];
    if (facts->api_silent_ms >= HEALTH_GRACE_MS || (facts->api_silent_ms > 0 && !facts->connected))
        tell(report, false, "api", "no answer for %s: %.*s", seconds(facts->api_silent_ms, time), SHOWN_MAX,
                facts->api_why);
    else
        tell(report, true, "api", "%s", "");
}

static void tell_synced(struct report *report, const struct health_facts *facts) {
    char time[DURATION_TEXT_MAX], where[128];
    const struct health_feed *list = &facts->list, *watch = &facts->watch;
    if (!facts->connected)
        tell(report, false, "synced", "%.*s", SHOWN_MAX,
                *facts->connect_why ? facts->connect_why : "the API server was asked, and has not answered yet");
    else if (facts->waits)
        tell(report, false, "synced", "nothing is listed before the register was open once");
    else if (list->resource)
        tell(report, false, "synced", "the list of %s%s is not complete%s%.*s", list->resource,
                in_namespace(list, where), *list->why ? ": " : "", SHOWN_MAX, list->why);
    else if (watch->resource && watch->for_ms >= HEALTH_GRACE_MS)
        tell(report, false, "synced", "%s%s could not be watched for %s: %.*s", watch->resource,
                in_namespace(watch, where), seconds(watch->for_ms, time), SHOWN_MAX, watch->why);
    else
        tell(report, true, "synced", "%s", "");
}

static void tell_register(struct report *report, const struct health_facts *facts) {
    char time[DURATION_TEXT_MAX];
    if (facts->dry_run)
        tell(report, true, "register", "none in a dry run");
    else if (*facts->store_why)
        tell(report, false, "register", "cannot be written: %.*s", SHOWN_MAX, facts->store_why);
    else if (facts->store_busy_ms >= HEALTH_GRACE_MS)
        tell(report, false, "register", "its disk has not answered for %s", seconds(facts->store_busy_ms, time));
    else
        tell(report, true, "register", "%s", "");
}

static void tell_lease(struct report *report, const struct health_facts *facts) {
    char time[DURATION_TEXT_MAX];
    bool failing = *facts->lease_why && facts->lease_failing_ms >= HEALTH_GRACE_MS;
    if (facts->lease == HEALTH_LEASE_UNNEEDED)
        tell(report, true, "lease", "none needed");
    else if (facts->lease == HEALTH_LEASE_OURS)
        tell(report, true, "lease", "held by this controller, %s", facts->lease_holder);
    else if (failing)
        tell(report, false, "lease", "could not be had for %s, and nothing is deleted without it: %.*s",
                seconds(facts->lease_failing_ms, time), SHOWN_MAX, facts->lease_why);
    else if (facts->lease == HEALTH_LEASE_OTHERS)
        tell(report, true, "lease", "held by %s, standing by", facts->lease_holder);
    else
        tell(report, true, "lease", facts->lease == HEALTH_LEASE_FREE ? "held by nobody yet" : "not known yet");
}

static void tell_permissions(struct report *report, const struct health_facts *facts) {
    if (*facts->rights_missing)
        tell(report, false, "permissions", "may not %s%s%s: apply the rights of manifests/, and see 'sexton check'",
                facts->rights_missing, *facts->rights_optional ? "; nor " : "", facts->rights_optional);
    else if (*facts->rights_unknown)
        tell(report, true, "permissions", "not known: %.*s", SHOWN_MAX, facts->rights_unknown);
    else if (*facts->rights_optional)
        tell(report, true, "permissions", "may not %s, and goes without", facts->rights_optional);
    else
        tell(report, true, "permissions", "%s", "");
}

/* Nothing to restart for, nor to stay away from: what was in force is. */
static void tell_config(struct report *report, const struct health_facts *facts) {
    if (*facts->config_why)
        tell(report, true, "configuration", "a new one is refused, and the old one stays: %.*s", SHOWN_MAX,
                facts->config_why);
    else
        tell(report, true, "configuration", "%s", "");
}

bool health_is_ready(const struct health_facts *facts, struct strbuf *out) {
    struct report report = {.out = out, .good = true};
    if (facts->stopping)
        tell(&report, false, "running", "it is about to end");
    tell_api(&report, facts);
    tell_synced(&report, facts);
    tell_register(&report, facts);
    tell_lease(&report, facts);
    tell_permissions(&report, facts);
    tell_config(&report, facts);
    return report.good;
}
