#include "suites.h"

Suite *suite_sweep(void) {
    const TTest *const tests[] = {NULL};
    return suite_of("sweep", tests);
}
