#include "scenario.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void words_init(struct words *words, const char *line) {
    *words = (struct words){.copy = strdup(line)};
    char *from = words->copy, *to = words->copy;
    while (words->n < WORDS_MAX) {
        while (isspace((unsigned char)*from))
            from++;
        if (!*from || *from == '#')
            return;
        if (*from == '{' || *from == '<') {
            words->body = from;
            return;
        }
        char *start = to;
        for (bool quoted = false; *from && (quoted || !isspace((unsigned char)*from)); from++) {
            if (*from == '"')
                quoted = !quoted;
            else
                *to++ = *from;
        }
        if (*from)
            from++;
        *to++ = '\0';
        words->word[words->n++] = start;
    }
}

void words_finish(struct words *words) {
    free(words->copy);
}

const char *words_value(const struct words *words, const char *key) {
    size_t len = strlen(key);
    for (int i = 0; i < words->n; i++) {
        if (strncmp(words->word[i], key, len) == 0 && words->word[i][len] == '=')
            return words->word[i] + len + 1;
    }
    return NULL;
}

bool words_have(const struct words *words, const char *word) {
    for (int i = 0; i < words->n; i++) {
        if (strcmp(words->word[i], word) == 0)
            return true;
    }
    return false;
}

const char *words_need(const struct scenario *s, const struct words *words, int index, const char *what) {
    if (index >= words->n)
        scenario_fail(s, "this line lacks %s", what);
    return words->word[index];
}

int64_t words_duration_ms(const struct scenario *s, const char *text) {
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {"", 0}};
    char *end;
    long long number = strtoll(text, &end, 10);
    for (size_t i = 0; end != text && i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) == 0 && (*end || number == 0))
            return number * units[i].ms;
    }
    scenario_fail(s, "'%s' is not a duration such as 250ms, 5s, 30m, -1h or 2d", text);
}

long words_number(const struct scenario *s, const char *text) {
    char *end;
    long number = strtol(text, &end, 10);
    if (end == text || *end)
        scenario_fail(s, "'%s' is not a number", text);
    return number;
}
