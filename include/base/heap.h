/*
 * heap: a binary heap of nodes that live inside the caller's structs, smallest key first. Loop thread.
 *
 * A node knows its place, so that removing or moving one is O(log n). The heap owns only its array of pointers; the
 * caller removes a node before freeing it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define HEAP_OUTSIDE UINT32_MAX

struct heap_node {
    int64_t key;
    uint32_t index; /* HEAP_OUTSIDE when in no heap */
};

struct heap {
    struct heap_node **nodes;
    uint32_t len;
    uint32_t capacity;
};

#define HEAP_NODE_INIT \
    { .key = 0, .index = HEAP_OUTSIDE }

void heap_finish(struct heap *heap);
/* Room for so many nodes: up to there, heap_put cannot fail. */
int heap_reserve(struct heap *heap, uint32_t nodes, struct error *err) must_check;
/* Insert the node, or move it if it is in the heap already. Moving cannot fail. */
int heap_put(struct heap *heap, struct heap_node *node, int64_t key, struct error *err) must_check;
/* Does nothing when the node is outside. */
void heap_remove(struct heap *heap, struct heap_node *node);
/* The smallest, or NULL. */
struct heap_node *heap_peek(const struct heap *heap);
