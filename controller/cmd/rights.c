#include "cmd/rights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"

#define TEXT_MAX_BYTES 4096 /* of the rights that are named */

/* Some that are missing. */
struct missing {
    struct strbuf text;
    int count;
};

struct rights {
    struct permissions *permissions;
    struct loop_timer *timer;
    struct backoff suspicion;
    int64_t quiet_ms; /* after the last round's beginning, in which a refusal brings no other */
    bool started, asking, suspected;
    int64_t asked_ms;                /* monotonic: the last round's beginning */
    struct missing needed, optional; /* of the last whole round */
    struct missing needed_now, optional_now;
    char unknown[ERROR_TEXT_MAX]; /* why there was no whole round yet */
    bool whole;                   /* this round */
    bool known;
};

static void missing_clear(struct missing *missing) {
    strbuf_clear(&missing->text);
    missing->count = 0;
}

static void missing_add(struct missing *missing, const struct permission *permission) {
    if (missing->count++ >= RIGHTS_TOLD_MAX)
        return;
    if (missing->text.len)
        strbuf_add_text(&missing->text, ", ");
    permission_describe(&missing->text, permission);
}

/* Takes what is in from. Returns whether that is something else than before. */
static bool missing_move(struct missing *to, struct missing *from) {
    if (from->count > RIGHTS_TOLD_MAX)
        strbuf_add_format(&from->text, " and %d more", from->count - RIGHTS_TOLD_MAX);
    bool differs = strcmp(strbuf_text(&to->text), strbuf_text(&from->text)) != 0;
    strbuf_finish(&to->text);
    *to = *from;
    *from = (struct missing){.text = STRBUF_INIT(TEXT_MAX_BYTES)};
    return differs;
}

static void ask(void *arg) {
    struct rights *r = arg;
    r->asking = r->whole = true;
    r->suspected = false;
    r->asked_ms = clock_mono_ms();
    missing_clear(&r->needed_now);
    missing_clear(&r->optional_now);
    permissions_ask(r->permissions);
}

static bool on_answered(
        void *arg, const struct permission *permission, enum permission_verdict verdict, const char *why) {
    struct rights *r = arg;
    if (verdict == PERMISSION_DENIED)
        missing_add(permission->optional ? &r->optional_now : &r->needed_now, permission);
    if (verdict != PERMISSION_UNKNOWN)
        return true;
    /* Who cannot answer this one answers none. */
    r->whole = false;
    snprintf(r->unknown, sizeof r->unknown, "%s", why);
    return false;
}

static void take_round(struct rights *r) {
    bool were_missing = r->needed.count > 0;
    bool differs = missing_move(&r->needed, &r->needed_now);
    bool optional_differs = missing_move(&r->optional, &r->optional_now);
    if (differs || optional_differs)
        backoff_reset(&r->suspicion);
    r->known = true;
    r->unknown[0] = '\0';
    if (differs && r->needed.count)
        log_error("permissions are missing", log_text("missing", strbuf_text(&r->needed.text)),
                log_text("hint", "run 'sexton check'; manifests/ has the rights that it needs"));
    else if (were_missing && !r->needed.count)
        log_info("no permission is missing any more");
    if (optional_differs && r->optional.count)
        log_warn("permissions are missing that it can do without", log_text("missing", strbuf_text(&r->optional.text)));
}

static void on_done(void *arg, const struct error *err) {
    struct rights *r = arg;
    r->asking = false;
    if (err) {
        r->whole = false;
        snprintf(r->unknown, sizeof r->unknown, "%s", err->text);
    }
    if (r->whole)
        take_round(r);
    r->quiet_ms = backoff_take(&r->suspicion);
    if (!r->whole)
        loop_timer_start(r->timer, RIGHTS_UNKNOWN_MS);
    else if (r->needed.count || r->optional.count)
        loop_timer_start(r->timer, r->needed.count ? RIGHTS_MISSING_MS : RIGHTS_OPTIONAL_MS);
}

void rights_start(struct rights *r) {
    if (r->started)
        return;
    r->started = true;
    ask(r);
}

void rights_suspect(struct rights *r) {
    /* What is refused during a round is in it, or is refused again. While something is missing it is asked for anyway.
     */
    if (!r->started || r->asking || r->suspected || (r->known && r->needed.count))
        return;
    r->suspected = true;
    int64_t since_ms = clock_mono_ms() - r->asked_ms;
    loop_timer_start(r->timer, since_ms < r->quiet_ms ? r->quiet_ms - since_ms : 0);
}

void rights_tell_health(const struct rights *r, struct health_facts *facts) {
    facts->rights_missing = strbuf_text(&r->needed.text);
    facts->rights_optional = strbuf_text(&r->optional.text);
    facts->rights_unknown = r->known      ? ""
                            : *r->unknown ? r->unknown
                            : r->asking   ? "they are being asked for"
                                          : "they were not asked for yet";
}

struct rights *rights_create(
        struct loop *loop, struct client *client, const struct permissions_settings *settings, struct error *err) {
    struct rights *r = calloc(1, sizeof *r);
    if (!r) {
        error_nomem(err);
        return NULL;
    }
    const struct permissions_handler handler = {.arg = r, .answered = on_answered, .done = on_done};
    r->suspicion = (struct backoff)BACKOFF_INIT(RIGHTS_SUSPECT_FIRST_MS, RIGHTS_SUSPECT_LAST_MS);
    strbuf_init(&r->needed.text, TEXT_MAX_BYTES);
    strbuf_init(&r->optional.text, TEXT_MAX_BYTES);
    strbuf_init(&r->needed_now.text, TEXT_MAX_BYTES);
    strbuf_init(&r->optional_now.text, TEXT_MAX_BYTES);
    r->permissions = permissions_create(loop, client, settings, &handler, err);
    r->timer = r->permissions ? loop_timer_create(loop, ask, r, err) : NULL;
    if (!r->timer) {
        rights_destroy(r);
        return NULL;
    }
    return r;
}

void rights_destroy(struct rights *r) {
    if (!r)
        return;
    permissions_destroy(r->permissions);
    loop_timer_destroy(r->timer);
    strbuf_finish(&r->needed.text);
    strbuf_finish(&r->optional.text);
    strbuf_finish(&r->needed_now.text);
    strbuf_finish(&r->optional_now.text);
    free(r);
}
