/*
 * The unit tests. 'unit' runs every suite, 'unit policy framer' only those; CK_FORK, CK_RUN_CASE and the other
 * variables of Check work as always. Exit code 1 when something failed, 2 when a suite is not known.
 */
#include "suites.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    Suite *(*create)(void);
} suites[] = {
        {"base", suite_base},
        {"options", suite_options},
        {"config", suite_config},
        {"annotations", suite_annotations},
        {"job", suite_job},
        {"policy", suite_policy},
        {"evidence", suite_evidence},
        {"framer", suite_framer},
        {"skew", suite_skew},
        {"recreated", suite_recreated},
        {"store", suite_store},
        {"reconcile", suite_reconcile},
        {"kubeconfig", suite_kubeconfig},
        {"credentials", suite_credentials},
        {"http", suite_http},
        {"lease", suite_lease},
        {"metrics", suite_metrics},
        {"health", suite_health},
        {"address", suite_address},
        {"history", suite_history},
        {"store_faults", suite_store_faults},
        {"store_stress", suite_store_stress},
        {"claim", suite_claim},
        {"writer", suite_writer},
        {"proto_encode", suite_proto_encode},
        {"protobuf", suite_protobuf},
        {"protostream", suite_protostream},
        {"cmd_history", suite_cmd_history},
};
#define SUITES (sizeof suites / sizeof suites[0])

static bool add(SRunner *runner, const char *name) {
    for (size_t i = 0; i < SUITES; i++) {
        if (strcmp(suites[i].name, name) == 0) {
            srunner_add_suite(runner, suites[i].create());
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv) {
    SRunner *runner = srunner_create(NULL);
    for (size_t i = 0; argc == 1 && i < SUITES; i++)
        srunner_add_suite(runner, suites[i].create());
    for (int i = 1; i < argc; i++) {
        if (add(runner, argv[i]))
            continue;
        fprintf(stderr, "unit: there is no suite '%s'; there are:", argv[i]);
        for (size_t s = 0; s < SUITES; s++)
            fprintf(stderr, " %s", suites[s].name);
        fputc('\n', stderr);
        srunner_free(runner);
        return 2;
    }
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : EXIT_SUCCESS;
}
