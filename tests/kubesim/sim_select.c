#include "sim_select.h"

#include "sim_util.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum term_op { TERM_IN, TERM_NOT_IN, TERM_EXISTS, TERM_NOT_EXISTS };

struct term {
    enum term_op op;
    bool is_field;
    char *key;
    char **values;
    size_t value_count;
    struct term *next;
};

struct sim_selector {
    struct term *terms;
};

static void term_add_value(struct term *term, const char *text, size_t len) {
    term->values = realloc(term->values, (term->value_count + 1) * sizeof(*term->values));
    if (!term->values)
        abort();
    term->values[term->value_count++] = sim_format("%.*s", (int)len, text);
}

static void term_destroy(struct term *term) {
    for (size_t i = 0; i < term->value_count; i++)
        free(term->values[i]);
    free(term->values);
    free(term->key);
    free(term);
}

static const char *skip_space(const char *p) {
    while (isspace((unsigned char)*p))
        p++;
    return p;
}

static size_t word_length(const char *p) {
    size_t n = 0;

    while (isalnum((unsigned char)p[n]) || (p[n] && strchr("-_./", p[n])))
        n++;
    return n;
}

/* "(a,b)" after in or notin. NULL if it is not. */
static const char *values_parse(const char *p, struct term *term) {
    p = skip_space(p);
    if (*p++ != '(')
        return NULL;
    for (;;) {
        p = skip_space(p);
        size_t n = word_length(p);

        term_add_value(term, p, n);
        p = skip_space(p + n);
        if (*p == ')')
            return p + 1;
        if (*p++ != ',')
            return NULL;
    }
}

/* One requirement; returns what follows it, NULL if it is not one. */
static const char *term_parse(const char *p, struct term *term) {
    bool negated = false;

    p = skip_space(p);
    if (*p == '!') {
        negated = true;
        p = skip_space(p + 1);
    }
    size_t n = word_length(p);
    if (n == 0)
        return NULL;
    term->key = sim_format("%.*s", (int)n, p);
    p = skip_space(p + n);
    if (negated || *p == ',' || *p == '\0') {
        term->op = negated ? TERM_NOT_EXISTS : TERM_EXISTS;
        return p;
    }
    if (strncmp(p, "!=", 2) == 0 || *p == '=') {
        term->op = *p == '!' ? TERM_NOT_IN : TERM_IN;
        p += p[1] == '=' ? 2 : 1;
        p = skip_space(p);
        n = word_length(p);
        term_add_value(term, p, n);
        return skip_space(p + n);
    }
    n = word_length(p);
    if (n == 2 && strncmp(p, "in", 2) == 0)
        term->op = TERM_IN;
    else if (n == 5 && strncmp(p, "notin", 5) == 0)
        term->op = TERM_NOT_IN;
    else
        return NULL;
    p = values_parse(p + n, term);
    return p ? skip_space(p) : NULL;
}

static bool terms_parse(struct sim_selector *sel, const char *text, bool is_field, char **ret_error) {
    const char *p = skip_space(text);

    while (*p) {
        struct term *term = sim_alloc(sizeof(*term));
        const char *end = term_parse(p, term);

        term->is_field = is_field;
        term->next = sel->terms;
        sel->terms = term;
        if (!end || (*end && *end != ',') || (*end == ',' && !*skip_space(end + 1))) {
            *ret_error = sim_format("unable to parse requirement: found '%s', in '%s'", p, text);
            return false;
        }
        if (is_field && term->op != TERM_IN && term->op != TERM_NOT_IN) {
            *ret_error = sim_format("invalid selector: '%s'; can't understand '%s'", text, p);
            return false;
        }
        if (is_field && strcmp(term->key, "metadata.name") != 0 && strcmp(term->key, "metadata.namespace") != 0) {
            *ret_error = sim_format("field label not supported: %s", term->key);
            return false;
        }
        p = *end ? end + 1 : end;
    }
    return true;
}

struct sim_selector *sim_selector_parse(const char *labels, const char *fields, char **ret_error) {
    struct sim_selector *sel = sim_alloc(sizeof(*sel));

    if (!terms_parse(sel, labels ? labels : "", false, ret_error) ||
            !terms_parse(sel, fields ? fields : "", true, ret_error)) {
        sim_selector_destroy(sel);
        return NULL;
    }
    return sel;
}

void sim_selector_destroy(struct sim_selector *sel) {
    if (!sel)
        return;
    while (sel->terms) {
        struct term *next = sel->terms->next;

        term_destroy(sel->terms);
        sel->terms = next;
    }
    free(sel);
}

bool sim_selector_is_empty(const struct sim_selector *sel) {
    return !sel->terms;
}

static bool term_match(const struct term *term, const char *value) {
    bool found = false;

    switch (term->op) {
    case TERM_EXISTS:
        return value != NULL;
    case TERM_NOT_EXISTS:
        return value == NULL;
    case TERM_IN:
    case TERM_NOT_IN:
        break;
    }
    for (size_t i = 0; value && i < term->value_count && !found; i++)
        found = strcmp(term->values[i], value) == 0;
    return found == (term->op == TERM_IN);
}

bool sim_selector_match(const struct sim_selector *sel, const json_t *labels, const char *ns, const char *name) {
    for (const struct term *term = sel->terms; term; term = term->next) {
        const char *value;

        if (term->is_field)
            value = strcmp(term->key, "metadata.name") == 0 ? name : ns;
        else
            value = json_string_value(json_object_get(labels, term->key));
        if (!term_match(term, value))
            return false;
    }
    return true;
}
