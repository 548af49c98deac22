#include "suites.h"

Suite *suite_connecting(void) {
    const TTest *const tests[] = {NULL};
    return suite_of("connecting", tests);
}
