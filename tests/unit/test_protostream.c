#include "suites.h"
Suite *suite_protostream(void) {
    return suite_create("protostream");
}
