#include "suites.h"

Suite *suite_watching(void) {
    const TTest *const tests[] = {NULL};
    return suite_of("watching", tests);
}
