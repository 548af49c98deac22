#include "suites.h"

Suite *suite_process(void) {
    const TTest *const tests[] = {NULL};
    return suite_of("process", tests);
}
