#include "suites.h"

Suite *suite_input(void) {
    const TTest *const tests[] = {NULL};
    return suite_of("input", tests);
}
