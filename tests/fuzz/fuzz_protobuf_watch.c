/* Any bytes as a watch in protobuf. */
#include "protobuf_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return check_stream(PROTOSTREAM_WATCH, data, size);
}
