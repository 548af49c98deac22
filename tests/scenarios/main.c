/* Runs each *.scn of tests/scenarios, or those named on the command line, as a test of its own for each encoding. */
#include <check.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenario.h"

#define SCENARIOS "tests/scenarios/*.scn"
#define PATIENCE_S 120 /* their own clock is virtual; this is for machines that are busy */

static char **paths;

/* i: a path and an encoding, as add_test makes it */
static void play(int i) {
    scenario_play(paths[i / 2], i % 2);
}

static const char *name_of(const char *path, bool protobuf) {
    const char *slash = strrchr(path, '/');
    char *name = NULL;
    if (asprintf(&name, "%s%s", slash ? slash + 1 : path, protobuf ? " (protobuf)" : "") < 0)
        abort();
    return name;
}

/* Check keeps the pointer to the test. */
static void add_test(Suite *suite, TTest *test, size_t i, bool protobuf) {
    *test = (TTest){.name = name_of(paths[i], protobuf), .fn = play, .file = paths[i], .line = 1};
    TCase *tcase = tcase_create(test->name);
    int which = (int)(2 * i + protobuf);
    tcase_set_timeout(tcase, PATIENCE_S);
    tcase_add_loop_test(tcase, test, which, which + 1);
    suite_add_tcase(suite, tcase);
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
    TTest *tests = calloc(2 * found.gl_pathc, sizeof *tests);
    Suite *suite = suite_create("scenarios");
    for (size_t i = 0; tests && i < 2 * found.gl_pathc; i++) {
        if (scenario_has_encoding(paths[i / 2], i % 2))
            add_test(suite, &tests[i], i / 2, i % 2);
    }
    if (argc < 2)
        scenario_add_events(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    for (size_t i = 0; tests && i < 2 * found.gl_pathc; i++)
        free((char *)tests[i].name);
    free(tests);
    globfree(&found);
    return failed ? 1 : 0;
}
