/* Runs each *.scn of tests/scenarios, or those named on the command line, as a test of its own. */
#include <check.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenario.h"

#define SCENARIOS "tests/scenarios/*.scn"
#define PATIENCE_S 120 /* their own clock is virtual; this is for machines that are busy */

static char **paths;

static void play(int i) {
    scenario_play(paths[i]);
}

int main(int argc, char **argv) {
    glob_t found = {0};
    for (int i = 1; i < argc; i++)
        glob(argv[i], (i > 1 ? GLOB_APPEND : 0) | GLOB_NOCHECK, NULL, &found);
    if (argc < 2 && glob(SCENARIOS, 0, NULL, &found) != 0) {
        fprintf(stderr, "no %s here: run this in the root of the repository\n", SCENARIOS);
        return 1;
    }
    paths = found.gl_pathv;
    TTest *tests = calloc(found.gl_pathc, sizeof *tests);
    Suite *suite = suite_create("scenarios");
    for (size_t i = 0; tests && i < found.gl_pathc; i++) {
        const char *slash = strrchr(paths[i], '/');
        tests[i] = (TTest){.name = slash ? slash + 1 : paths[i], .fn = play, .file = paths[i], .line = 1};
        TCase *tcase = tcase_create(tests[i].name);
        tcase_set_timeout(tcase, PATIENCE_S);
        tcase_add_loop_test(tcase, &tests[i], (int)i, (int)i + 1);
        suite_add_tcase(suite, tcase);
    }
    if (argc < 2)
        scenario_add_events(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    free(tests);
    globfree(&found);
    return failed ? 1 : 0;
}
