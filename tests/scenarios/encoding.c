/* In which encoding the API server of a scenario answers. */
#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../protobuf/encode.h"

bool scenario_has_encoding(const char *path, bool protobuf) {
    bool has = true;
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen(path, "re");
    while (file && getline(&line, &room, file) >= 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (strcmp(line, "encoding json") == 0)
            has = !protobuf;
        else if (strcmp(line, "encoding protobuf") == 0)
            has = protobuf;
    }
    free(line);
    if (file)
        fclose(file);
    return has;
}

bool encoding_is_protobuf(const struct scenario *s, const struct http_transfer *t) {
    return s->protobuf && proto_is_preferred(fake_http_header(t, "Accept"));
}

void encoding_head(const struct scenario *s, struct http_transfer *t, const struct fake_answer *answer) {
    struct fake_answer typed = *answer;
    if (encoding_is_protobuf(s, t))
        typed.content_type =
                request_is_watch(t) && answer->status == 200 ? PROTO_WATCH_CONTENT_TYPE : PROTO_CONTENT_TYPE;
    fake_http_head(t, &typed);
}

/* Takes the text or bytes; NULL ends the scenario. */
static void send_data(
        const struct scenario *s, struct http_transfer *t, const struct proto_encoder *enc, char *data, size_t len) {
    if (!data)
        scenario_fail(s, "%s (a scenario that is about JSON says 'encoding json')", enc->why);
    fake_http_data(t, data, len);
    free(data);
}

/* What a server always says, where a scenario is short. */
static void complete_object(json_t *object) {
    if (!json_object_get(object, "kind"))
        json_object_set_new(object, "kind", json_string("Job"));
    const char *kind = json_string_value(json_object_get(object, "kind"));
    if (!json_object_get(object, "apiVersion"))
        json_object_set_new(object, "apiVersion", json_string(strcmp(kind, "Status") == 0 ? "v1" : "batch/v1"));
}

void encoding_object(const struct scenario *s, struct http_transfer *t, json_t *object, size_t most) {
    struct proto_encoder enc = {0};
    size_t len = 0;
    char *data;
    if (encoding_is_protobuf(s, t)) {
        complete_object(object);
        data = proto_encode_object(&enc, object, &len);
    } else {
        data = json_dumps(object, JSON_COMPACT);
        len = strlen(data);
    }
    send_data(s, t, &enc, data, len < most ? len : most);
}

void encoding_event(const struct scenario *s, struct http_transfer *t, const char *type, json_t *object) {
    struct proto_encoder enc = {0};
    size_t len = 0;
    char *data;
    json_t *event = json_pack("{s:s, s:o}", "type", type, "object", json_copy(object));
    if (encoding_is_protobuf(s, t)) {
        complete_object(json_object_get(event, "object"));
        data = proto_encode_event(&enc, event, &len);
    } else {
        data = json_dumps(event, JSON_COMPACT);
        len = strlen(data);
        data[len++] = '\n'; /* in place of the NUL: lengths are given */
    }
    json_decref(event);
    send_data(s, t, &enc, data, len);
}

/* encoding json|protobuf: who plays scenarios has seen it already. */
void step_encoding(struct scenario *s, const struct words *words) {
    const char *name = words_need(s, words, 1, "json or protobuf");
    if (strcmp(name, s->protobuf ? "protobuf" : "json") != 0)
        scenario_fail(s, "it is played in another encoding");
}

/* bytes 00 00 01 ff ...: a piece of a body, in hexadecimal */
void step_bytes(struct scenario *s, const struct words *words) {
    char bytes[WORDS_MAX];
    for (int i = 1; i < words->n; i++) {
        char *end;
        bytes[i - 1] = (char)strtoul(words->word[i], &end, 16);
        if (*end || strlen(words->word[i]) != 2)
            scenario_fail(s, "'%s' is no byte", words->word[i]);
    }
    fake_http_data(answer_current(s), bytes, (size_t)words->n - 1);
}
