#include "cmd/reload.h"

#include "base/clock.h"
#include "base/log.h"

void reload_init(struct reload *reload, struct config *config, const struct reload_handler *handler) {
    *reload = (struct reload){.config = config,
            .handler = *handler,
            .facts = {.last_successful = true, .last_success_ms = clock_wall_ms(), .last_failure_ms = TIME_NONE}};
}

static void refuse(struct reload *reload, const struct error *err) {
    struct reload_facts *facts = &reload->facts;
    facts->failed++;
    facts->last_successful = false;
    facts->last_failure_ms = clock_wall_ms();
    facts->last_failure = *err;
    log_error("the new configuration is refused, the old one stays", log_text("error", err->text));
    if (reload->handler.refused)
        reload->handler.refused(reload->handler.arg);
}

/* An empty file means the defaults, at the start. One that becomes empty is more likely a disk that is full, or a file
 * that is being written, and by the defaults Jobs would go that were to stay. */
static int load(const struct reload *reload, struct config **ret, struct error *err) {
    struct config *fresh;
    if (reload->handler.load(reload->handler.arg, &fresh, err) < 0)
        return -1;
    if (fresh->empty && !reload->config->empty) {
        error_set(err, ERROR_USAGE, "%s: is empty: for the defaults, leave a comment in it", fresh->path);
        config_destroy(fresh);
        return -1;
    }
    *ret = fresh;
    return 0;
}

void reload_now(struct reload *reload) {
    struct reload_facts *facts = &reload->facts;
    struct error err = {0};
    struct config *fresh;
    if (load(reload, &fresh, &err) < 0) {
        refuse(reload, &err);
        return;
    }
    config_reload(reload->config, fresh);
    config_destroy(fresh);
    log_configure(reload->config->log_level, reload->config->log_format);
    log_info("configuration read again", log_text("file", reload->config->path),
            log_text("after", facts->last_successful ? NULL : "a version that was refused"));
    facts->succeeded++;
    facts->last_successful = true;
    facts->last_success_ms = clock_wall_ms();
    reload->handler.taken(reload->handler.arg);
}
