#include "suites.h"

Suite *suite_commands(void) {
    const TTest *const tests[] = {NULL};
    return suite_of("commands", tests);
}
