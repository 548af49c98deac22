/*
 * machine: a computer with the real controller on it: started, killed, stopped and reloaded; its loop, its network and
 * its register are fake_loop.c, fake_http.c and fake_writer.c.
 */
#pragma once

#include "sim.h"

/* Clocks of the machine that runs; the server's when none does. */
void machine_clocks_start(void);
int64_t machine_wall_ms(const struct machine *m);
int64_t server_wall_ms(void);

void machine_init(struct machine *m, int index);
void machine_finish(struct machine *m);
void machine_boot(struct machine *m);
/* kill -9: what was not durable is lost. */
void machine_crash(struct machine *m);
/* SIGTERM. */
void machine_stop(struct machine *m);
/* SIGHUP, with the world's settings. */
void machine_reload(struct machine *m);
/* After any of its callbacks: whether the process wanted to end. */
void machine_after(struct machine *m);

/* fake_writer.c: the register as a reader sees it, and to tell its process of a change of the store. */
struct row *machine_row(struct machine *m, int job);
/* Somebody puts an empty register in the place of the one that is open. */
void machine_replace_register(struct machine *m);

/* fake_http.c */
/* Lets go of a transfer, whatever it is at. */
void http_cancel_for_good(struct http_transfer *t);
/* No network for a while. */
void machine_cut(struct machine *m, int64_t for_ms);
void machine_cut_streams(struct machine *m, int64_t for_ms);

/* Settings of the model, as configuration. */
void settings_draw(struct settings *settings);
struct config *settings_make_config(const struct settings *settings);
