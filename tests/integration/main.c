/*
 * The integration tests: build/sexton against build/kubesim (or what SEXTON_BIN and KUBESIM_BIN name) over real sockets.
 * 'integration' runs every suite, 'integration policy faults' only those; CK_RUN_CASE and the other variables of Check work
 * as always. Exit code 1 when something failed, 2 when a suite is not known.
 */
#include "suites.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    Suite *(*create)(void);
} suites[] = {
        {"policy", suite_policy},
        {"changes", suite_changes},
        {"faults", suite_faults},
        {"watching", suite_watching},
        {"process", suite_process},
        {"sweep", suite_sweep},
        {"plan", suite_plan},
        {"input", suite_input},
        {"commands", suite_commands},
        {"connecting", suite_connecting},
};
#define SUITES (sizeof suites / sizeof suites[0])

Suite *suite_of(const char *name, const TTest *const tests[]) {
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, TEST_SECONDS);
    tcase_add_checked_fixture(tcase, test_setup, test_teardown);
    for (; *tests; tests++)
        tcase_add_test(tcase, *tests);
    suite_add_tcase(suite, tcase);
    return suite;
}

static int add(SRunner *runner, const char *name) {
    for (size_t i = 0; i < SUITES; i++) {
        if (strcmp(suites[i].name, name) == 0) {
            srunner_add_suite(runner, suites[i].create());
            return 0;
        }
    }
    fprintf(stderr, "integration: there is no suite '%s'; there are:", name);
    for (size_t i = 0; i < SUITES; i++)
        fprintf(stderr, " %s", suites[i].name);
    fputc('\n', stderr);
    return -1;
}

int main(int argc, char **argv) {
    SRunner *runner = srunner_create(NULL);
    int result = 0;
    for (size_t i = 0; argc == 1 && i < SUITES; i++)
        srunner_add_suite(runner, suites[i].create());
    for (int i = 1; i < argc && result == 0; i++)
        result = add(runner, argv[i]);
    if (result < 0) {
        srunner_free(runner);
        return 2;
    }
    harness_init();
    srunner_set_fork_status(runner, CK_FORK);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    harness_finish();
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
