/*
 * suites: the integration tests, one suite a file, and what each file includes.
 */
#pragma once

#include <check.h>

#include "cluster.h"
#include "harness.h"
#include "sexton.h"

Suite *suite_policy(void);          /* what goes, when, and what stays */
Suite *suite_events(void);          /* what people are told by Kubernetes Events */
Suite *suite_guards(void);          /* Jobs that others look after, and names that come back */
Suite *suite_changes(void);         /* Jobs, Namespaces and people that change their minds */
Suite *suite_faults(void);          /* requests that go wrong */
Suite *suite_broken(void);          /* answers that break off, or are rubbish */
Suite *suite_protobuf(void);        /* the same in protobuf, and servers that speak it or do not */
Suite *suite_silent(void);          /* answers that crawl, or never come */
Suite *suite_watching(void);        /* lists and watches that go wrong */
Suite *suite_listed(void);          /* a list of Namespaces, and no rights beyond them */
Suite *suite_process(void);         /* signals and restarts */
Suite *suite_restarts(void);        /* an API server that goes and comes back */
Suite *suite_bounds_of_lists(void); /* requests a minute while things fail */
Suite *suite_bounds_of_watches(void);
Suite *suite_bounds_of_deletions(void);
Suite *suite_clocks(void); /* wall clocks that step, and servers that disagree */
Suite *suite_live(void);   /* a configuration that changes */
Suite *suite_limits(void); /* rates, and a register that does not keep up */
Suite *suite_store(void);  /* a register that cannot be written, is lost, or is not what it was */
Suite *suite_lease(void);  /* several controllers */
Suite *suite_metrics(void);
Suite *suite_serve(void);   /* what a controller serves: to whom, and what it does not put up with */
Suite *suite_health(void);  /* what it says of itself there */
Suite *suite_waiting(void); /* a register that cannot be opened yet */
Suite *suite_sweep(void);
Suite *suite_plan(void);
Suite *suite_input(void);    /* bad input of every kind */
Suite *suite_commands(void); /* check, history, help */
Suite *suite_soak(void);     /* a hundred thousand Jobs */
Suite *suite_soak_bounds(void);
Suite *suite_soak_minutes(void); /* what takes minutes by the clock on the wall */
Suite *suite_server(void);       /* what kubesim promises */
Suite *suite_connecting(void);   /* TLS, tokens, plugins, what is no API server */

/* tests: NULL-terminated. */
Suite *suite_of(const char *name, const TTest *const tests[]);
