#include "suites.h"

Suite *suite_faults(void) {
    const TTest *const tests[] = {NULL};
    return suite_of("faults", tests);
}
