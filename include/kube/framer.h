/*
 * framer: cuts a JSON byte stream into items as it arrives, so that no document is ever held whole.
 *
 * Understands what the API server and kubectl send, one after the other in any number:
 *   a List ({"items": [...]})                    each element of items is an item, the rest is the envelope
 *   a watch frame ({"type": ..., "object": ...}) the frame is the item
 *   any other object                             the object is the item
 * In each item, metadata.managedFields is dropped and spec.template is put aside, both unparsed, wherever the object
 * stands (item, or "object" in a frame). Structure is checked (brackets, strings, depth); what is left is for a JSON
 * parser to judge. The same bytes give the same items however they are cut.
 *
 * Pure but for its callbacks. Memory: one item without what was dropped, plus one template.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define FRAMER_ITEM_MAX (4u << 20)  /* etcd takes 1.5 MB, kubectl files can be somewhat larger */
#define FRAMER_ASIDE_MAX (2u << 20) /* a Pod template; a longer one is given as absent */
#define FRAMER_DEPTH_MAX 512        /* deeper than any API object; jansson's own limit is 2048 */

struct framer;

struct framer_handler {
    void *arg;
    /* An item. aside: the text of spec.template, "" when there was none. Borrowed for the call. Non-zero stops
     * everything: framer_push returns it. */
    int (*item)(void *arg, const char *json, size_t len, const char *aside, size_t aside_len);
    /* The rest of a List, with "items":[], after its last item. */
    int (*envelope)(void *arg, const char *json, size_t len);
};

struct framer *framer_create(const struct framer_handler *handler, struct error *err);
void framer_destroy(struct framer *framer);

/* Takes the next bytes. 0, what a callback returned, or -1 with an error that tells the byte offset; after a non-zero
 * result the framer must not be used again. */
int framer_push(struct framer *framer, const char *data, size_t len, struct error *err) must_check;

/* The stream ended: an error when that was in the middle of a document. */
int framer_end(struct framer *framer, struct error *err) must_check;

/* Documents seen so far. */
size_t framer_documents(const struct framer *framer);
