/*
 * suites: every suite of the unit tests. main.c runs them all, or those named on its command line.
 */
#pragma once

#include <check.h>

Suite *suite_annotations(void);
Suite *suite_base(void);
Suite *suite_cmd_history(void);
Suite *suite_claim(void);
Suite *suite_config(void);
Suite *suite_credentials(void);
Suite *suite_evidence(void);
Suite *suite_framer(void);
Suite *suite_history(void);
Suite *suite_http(void);
Suite *suite_job(void);
Suite *suite_kubeconfig(void);
Suite *suite_lease(void);
Suite *suite_metrics(void);
Suite *suite_health(void);
Suite *suite_address(void);
Suite *suite_options(void);
Suite *suite_policy(void);
Suite *suite_proto_encode(void);
Suite *suite_protobuf(void);
Suite *suite_protostream(void);
Suite *suite_reconcile(void);
Suite *suite_recreated(void);
Suite *suite_skew(void);
Suite *suite_store(void);
Suite *suite_store_faults(void);
Suite *suite_store_stress(void);
Suite *suite_writer(void);
