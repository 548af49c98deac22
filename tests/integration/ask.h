/*
 * ask: what a controller serves, asked for by hand: every byte of a request is the test's, and so is when it goes.
 */
#pragma once

#include "harness.h"

#define LISTEN "[serve]\nlisten = 127.0.0.1:0\n"

/* Where the controller listens, once it has said so. */
int served_port(struct process *controller);

/* A connection; from: the client's address, NULL: 127.0.0.1. */
int ask_open(int port, const char *from);
void ask_send(int fd, const char *text);
/* All that comes until the other end closes. */
const char *ask_read(int fd);
/* Whether the other end has closed it. */
bool ask_is_closed(int fd);

struct asked {
    int code; /* 0: no answer */
    const char *all, *body;
};
/* From start to end. */
struct asked ask(int port, const char *request);
struct asked ask_for(int port, const char *path);
