/*
 * scrape: what /metrics tells: the numbers that the parts of the controller keep, brought together when they are asked
 * for. Nothing here waits for a disk or the network. Loop thread.
 */
#pragma once

#include "cmd/engine.h"
#include "cmd/reload.h"
#include "history/writer.h"
#include "serve/metrics.h"

/* Looking at every Job takes this part of the loop's time at most, however often one asks: some 10 ms for 20,000 Jobs.
 */
#define SCRAPE_SURVEY_SHARE 20

struct scrape {
    int64_t start_ms; /* of this process */
    struct reconcile_survey survey;
    int64_t survey_next_ms;     /* monotonic */
    struct writer_stats writer; /* as of the last look */
};

void scrape_init(struct scrape *scrape);
/* What the engine does not know (reloads, whether it is ready) is METRICS_ABSENT. Borrows from
 * scrape and engine, until the next turn of the loop. */
void scrape_look(struct scrape *scrape, const struct engine *engine, struct metrics *ret);
void scrape_take_reload(const struct reload_facts *facts, struct metrics *ret);
