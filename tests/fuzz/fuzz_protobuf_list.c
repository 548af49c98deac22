/* Any bytes as a list in protobuf, and as a Status. */
#include "protobuf_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_status(const char *data, size_t size) {
    struct strbuf reason = STRBUF_INIT(PROTOSTREAM_WORD_MAX), message = STRBUF_INIT(PROTOSTREAM_MESSAGE_MAX);
    struct error err = {0};
    int result = protostream_read_status(data, size, &reason, &message, &err);
    ensure(result == 0 || (err.text[0] && err.kind != ERROR_NOMEM && !reason.len && !message.len));
    strbuf_finish(&reason);
    strbuf_finish(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_status(size ? (const char *)data : "", size);
    return check_stream(PROTOSTREAM_LIST, data, size);
}
