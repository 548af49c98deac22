#include "suites.h"

Suite *suite_plan(void) {
    const TTest *const tests[] = {NULL};
    return suite_of("plan", tests);
}
