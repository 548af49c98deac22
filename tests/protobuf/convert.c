/*
 * JSON on stdin as protobuf on stdout, as encode.h has it: objects with kind and apiVersion, or, with `events`, the
 * events of a watch, one after the other. `--server 1.20`: as that version writes them.
 *
 *     kubectl get --raw /apis/batch/v1/jobs | build/proto-encode | protoc --decode_raw ...
 */
#include "encode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    struct proto_encoder enc = {0};
    bool events = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "events") == 0) {
            events = true;
        } else if (strcmp(argv[i], "--server") == 0 && i + 1 < argc && strcmp(argv[i + 1], "1.20") == 0) {
            enc.server = PROTO_SERVER_1_20;
            i++;
        } else {
            fputs("usage: proto-encode [--server 1.20] [events] <JSON\n", stderr);
            return 2;
        }
    }
    for (;;) {
        json_error_t error;
        json_t *json = json_loadf(stdin, JSON_DISABLE_EOF_CHECK, &error);
        size_t length = 0;

        if (!json && feof(stdin) && json_error_code(&error) == json_error_premature_end_of_input)
            break;
        char *data = !json    ? NULL
                     : events ? proto_encode_event(&enc, json, &length)
                              : proto_encode_object(&enc, json, &length);

        if (!data) {
            fprintf(stderr, "proto-encode: %s\n", json ? enc.why : error.text);
            return 1;
        }
        if (fwrite(data, 1, length, stdout) != length)
            return 1;
        free(data);
        json_decref(json);
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
