#include "kube/tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/text.h"

#define SHOWN_CHARS 60               /* more of a name would push the reason out of the line */
#define SHOWN_PATH_MAX (1024 * 1024) /* Linux opens no path longer than 4 kB; a value in the file may be */

const char *tree_quote(char buf[TREE_QUOTED_MAX], const char *name) {
    struct strbuf text = STRBUF_INIT(TREE_QUOTED_MAX);
    text_add_escaped(&text, name, SHOWN_CHARS);
    snprintf(buf, TREE_QUOTED_MAX, "'%s'", strbuf_failed(&text) ? "?" : strbuf_text(&text));
    strbuf_finish(&text);
    return buf;
}

struct builder {
    const char *shown;
    struct tree_node *open[TREE_DEPTH_MAX]; /* lists and maps not yet closed */
    size_t depth, count;
    struct tree_node *root;
};

static void node_destroy(struct tree_node *node) {
    if (!node)
        return;
    for (struct tree_node *child = node->first, *next; child; child = next) {
        next = child->next;
        node_destroy(child);
    }
    free(node->text);
    free(node->key);
    free(node->pending);
    free(node);
}

static int builder_fail(const struct builder *tree, const yaml_event_t *event, struct error *err, const char *what) {
    error_set(err, ERROR_USAGE, "%s:%zu: %s", tree->shown, event->start_mark.line + 1, what);
    return -1;
}

/* Takes the node, on failure too. */
static int builder_add(struct builder *tree, struct tree_node *node, const yaml_event_t *event, struct error *err) {
    struct tree_node *parent = tree->depth ? tree->open[tree->depth - 1] : NULL;
    if (!parent) {
        node_destroy(tree->root); /* NULL: a document has one root */
        tree->root = node;
        return 0;
    }
    if (parent->kind == TREE_MAP && !parent->pending) {
        parent->pending = node->text;
        node->text = NULL;
        node_destroy(node);
        return parent->pending ? 0 : builder_fail(tree, event, err, "a key that is not a text");
    }
    node->key = parent->pending;
    parent->pending = NULL;
    if (parent->last)
        parent->last->next = node;
    else
        parent->first = node;
    parent->last = node;
    return 0;
}

static bool means_null(const char *text) {
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++) {
        if (strcmp(text, nulls[i]) == 0)
            return true;
    }
    return false;
}

static struct tree_node *builder_new(
        struct builder *tree, enum tree_kind kind, const yaml_event_t *event, struct error *err) {
    if (++tree->count > TREE_NODES_MAX) {
        builder_fail(tree, event, err, "too many values");
        return NULL;
    }
    struct tree_node *node = calloc(1, sizeof *node);
    if (!node) {
        error_nomem(err);
        return NULL;
    }
    *node = (struct tree_node){.kind = kind, .line = (unsigned)event->start_mark.line + 1};
    return node;
}

static int builder_text(struct builder *tree, const yaml_event_t *event, struct error *err) {
    const char *text = (const char *)event->data.scalar.value;
    if (strlen(text) != event->data.scalar.length)
        return builder_fail(tree, event, err, "a NUL character");
    struct tree_node *node = builder_new(tree, TREE_TEXT, event, err);
    if (!node)
        return -1;
    node->text = strdup(text);
    if (!node->text) {
        node_destroy(node);
        return error_nomem(err);
    }
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && event->data.scalar.plain_implicit;
    if (node->plain && means_null(text))
        node->kind = TREE_NULL;
    return builder_add(tree, node, event, err);
}

static int builder_open(struct builder *tree, enum tree_kind kind, const yaml_event_t *event, struct error *err) {
    if (tree->depth == TREE_DEPTH_MAX)
        return builder_fail(tree, event, err, "nested too deep");
    struct tree_node *node = builder_new(tree, kind, event, err);
    if (!node || builder_add(tree, node, event, err) < 0)
        return -1;
    tree->open[tree->depth++] = node;
    return 0;
}

/* Returns 1 when the document is complete. */
static int builder_take(struct builder *tree, const yaml_event_t *event, struct error *err) {
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return builder_fail(tree, event, err, "YAML aliases are not supported");
    case YAML_SCALAR_EVENT:
        return builder_text(tree, event, err);
    case YAML_SEQUENCE_START_EVENT:
        return builder_open(tree, TREE_LIST, event, err);
    case YAML_MAPPING_START_EVENT:
        return builder_open(tree, TREE_MAP, event, err);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        tree->depth--;
        return 0;
    case YAML_DOCUMENT_END_EVENT: /* kubectl, too, reads the first document only */
    case YAML_STREAM_END_EVENT:
        return 1;
    default:
        return 0;
    }
}

static int yaml_fail(const struct builder *tree, const yaml_parser_t *parser, struct error *err) {
    if (parser->error == YAML_MEMORY_ERROR)
        return error_nomem(err);
    const char *problem = parser->problem ? parser->problem : "cannot be understood";
    if (parser->error == YAML_READER_ERROR)
        return error_set(
                err, ERROR_USAGE, "%s: not YAML: %s at byte %zu", tree->shown, problem, parser->problem_offset);
    return error_set(err, ERROR_USAGE, "%s:%zu: not YAML: %s", tree->shown, parser->problem_mark.line + 1, problem);
}

/* JSON is YAML, as far as kubeconfigs go. */
static int parse_yaml(const char *name, const char *text, size_t len, struct tree_node **ret_root, struct error *err) {
    struct builder tree = {.shown = name};
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return error_nomem(err);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    int result = 0;
    while (result == 0) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            result = yaml_fail(&tree, &parser, err);
        } else {
            result = builder_take(&tree, &event, err);
            yaml_event_delete(&event);
        }
    }
    yaml_parser_delete(&parser);
    if (result < 0) {
        node_destroy(tree.root);
        return -1;
    }
    *ret_root = tree.root;
    return 0;
}

/* A path as it may be shown: escaped, in full. On the heap; NULL: no memory. */
static char *escape_path(const char *path) {
    struct strbuf text = STRBUF_INIT(SHOWN_PATH_MAX);
    text_add_escaped(&text, path, TEXT_ALL);
    char *result = strbuf_take(&text);
    strbuf_finish(&text);
    return result;
}

int tree_file_init(struct tree_file *file, const char *path, const char *text, size_t len, struct error *err) {
    const char *slash = strrchr(path, '/');
    *file = (struct tree_file){0};
    file->shown = escape_path(path);
    file->folder = strndup(path, slash ? (size_t)(slash - path) + 1 : 0);
    if (!file->shown || !file->folder)
        return error_nomem(err);
    if (parse_yaml(file->shown, text, len, &file->root, err) < 0)
        return -1;
    if (file->root && file->root->kind == TREE_NULL) {
        node_destroy(file->root);
        file->root = NULL;
    }
    return 0;
}

void tree_file_finish(struct tree_file *file) {
    free(file->shown);
    free(file->folder);
    node_destroy(file->root);
    *file = (struct tree_file){0};
}

int tree_fail(const struct tree_place *place, struct error *err, const char *fmt, ...) {
    char text[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return error_set(err, ERROR_USAGE, "%s: %s%s%s", place->file->shown, place->what, place->what[0] ? ": " : "", text);
}

int tree_context(const struct tree_place *place, struct error *err, const char *key) {
    if (!err || err->kind == ERROR_NOMEM)
        return -1;
    char text[ERROR_TEXT_MAX];
    memcpy(text, err->text, sizeof text);
    return tree_fail(place, err, "%s: %s", key, text);
}

int tree_find(const struct tree_place *place, const struct tree_node *map, const char *key, enum tree_kind kind,
        const struct tree_node **ret, struct error *err) {
    static const char *const names[] = {
            [TREE_NULL] = "null", [TREE_TEXT] = "text", [TREE_LIST] = "a list", [TREE_MAP] = "a map"};
    const struct tree_node *found = NULL;
    for (const struct tree_node *child = map ? map->first : NULL; child; child = child->next) {
        if (strcmp(child->key, key) != 0)
            continue;
        if (found)
            return tree_fail(place, err, "%s is there twice, on lines %u and %u", key, found->line, child->line);
        found = child;
    }
    if (found && found->kind != TREE_NULL && found->kind != kind)
        return tree_fail(
                place, err, "%s must be %s, not %s (line %u)", key, names[kind], names[found->kind], found->line);
    *ret = found && found->kind == kind ? found : NULL;
    return 0;
}

int tree_find_text(const struct tree_place *place, const struct tree_node *map, const char *key, const char **ret,
        struct error *err) {
    const struct tree_node *found = NULL;
    if (tree_find(place, map, key, TREE_TEXT, &found, err) < 0)
        return -1;
    *ret = found && found->text[0] ? found->text : NULL;
    return 0;
}

int tree_copy(const char *text, char **ret, struct error *err) {
    char *result = text ? strdup(text) : NULL;
    if (text && !result)
        return error_nomem(err);
    *ret = result;
    return 0;
}

int tree_take_text(
        const struct tree_place *place, const struct tree_node *map, const char *key, char **ret, struct error *err) {
    const char *text;
    if (tree_find_text(place, map, key, &text, err) < 0)
        return -1;
    return tree_copy(text, ret, err);
}

int tree_take_line(
        const struct tree_place *place, const struct tree_node *map, const char *key, char **ret, struct error *err) {
    const char *text;
    if (tree_find_text(place, map, key, &text, err) < 0)
        return -1;
    for (const char *c = text; c && *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return tree_fail(place, err, "%s has a control character", key);
    }
    return tree_copy(text, ret, err);
}

/* The booleans of YAML 1.1, as kubectl takes them. */
int tree_take_bool(
        const struct tree_place *place, const struct tree_node *map, const char *key, bool *ret, struct error *err) {
    static const char *const words[] = {"true", "yes", "on", "y", "false", "no", "off", "n"};
    const struct tree_node *found = NULL;
    if (tree_find(place, map, key, TREE_TEXT, &found, err) < 0)
        return -1;
    if (!found)
        return 0;
    for (size_t i = 0; found->plain && i < sizeof words / sizeof *words; i++) {
        if (strcasecmp(found->text, words[i]) == 0) {
            *ret = i < 4;
            return 0;
        }
    }
    return tree_fail(place, err, "%s must be true or false (line %u)", key, found->line);
}

char *tree_join(const char *folder, const char *path) {
    struct strbuf joined = STRBUF_INIT(SHOWN_PATH_MAX);
    if (path[0] != '/')
        strbuf_add_text(&joined, folder);
    strbuf_add_text(&joined, path);
    char *result = strbuf_take(&joined);
    strbuf_finish(&joined);
    return result;
}

int tree_take_path(
        const struct tree_place *place, const struct tree_node *map, const char *key, char **ret, struct error *err) {
    const char *text;
    if (tree_find_text(place, map, key, &text, err) < 0)
        return -1;
    if (!text)
        return 0;
    *ret = tree_join(place->file->folder, text);
    return *ret ? 0 : error_nomem(err);
}

/* RFC 8259, section 6. */
static bool is_json_number(const char *text) {
    text += *text == '-';
    size_t n = strspn(text, "0123456789");
    if (n == 0 || (n > 1 && *text == '0'))
        return false;
    text += n;
    if (*text == '.') {
        n = strspn(++text, "0123456789");
        if (n == 0)
            return false;
        text += n;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '+' || *text == '-';
        n = strspn(text, "0123456789");
        if (n == 0)
            return false;
        text += n;
    }
    return *text == '\0';
}

static void add_json_text(struct strbuf *json, const struct tree_node *node) {
    static const char *const words[] = {"true", "True", "TRUE", "false", "False", "FALSE"};
    for (size_t i = 0; node->plain && i < 6; i++) {
        if (strcmp(node->text, words[i]) == 0) {
            strbuf_add_text(json, i < 3 ? "true" : "false");
            return;
        }
    }
    if (node->plain && is_json_number(node->text))
        strbuf_add_text(json, node->text);
    else
        text_add_json(json, node->text);
}

/* Recursion is bounded by TREE_DEPTH_MAX. */
void tree_add_json(struct strbuf *json, const struct tree_node *node) {
    if (node->kind == TREE_NULL) {
        strbuf_add_text(json, "null");
    } else if (node->kind == TREE_TEXT) {
        add_json_text(json, node);
    } else {
        bool map = node->kind == TREE_MAP;
        strbuf_add_char(json, map ? '{' : '[');
        for (const struct tree_node *child = node->first; child; child = child->next) {
            if (map) {
                text_add_json(json, child->key);
                strbuf_add_char(json, ':');
            }
            tree_add_json(json, child);
            if (child->next)
                strbuf_add_char(json, ',');
        }
        strbuf_add_char(json, map ? '}' : ']');
    }
}
