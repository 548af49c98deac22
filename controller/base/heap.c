#include "base/heap.h"

#include <stdlib.h>

#define HEAP_FIRST 64

void heap_finish(struct heap *heap) {
    free(heap->nodes);
    *heap = (struct heap){0};
}

static void place(struct heap *heap, struct heap_node *node, uint32_t index) {
    heap->nodes[index] = node;
    node->index = index;
}

static void sift_up(struct heap *heap, struct heap_node *node) {
    uint32_t at = node->index;
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;
        if (heap->nodes[parent]->key <= node->key)
            break;
        place(heap, heap->nodes[parent], at);
        at = parent;
    }
    place(heap, node, at);
}

static void sift_down(struct heap *heap, struct heap_node *node) {
    uint32_t at = node->index;
    for (;;) {
        uint32_t child = at * 2 + 1;
        if (child >= heap->len)
            break;
        if (child + 1 < heap->len && heap->nodes[child + 1]->key < heap->nodes[child]->key)
            child++;
        if (node->key <= heap->nodes[child]->key)
            break;
        place(heap, heap->nodes[child], at);
        at = child;
    }
    place(heap, node, at);
}

int heap_reserve(struct heap *heap, uint32_t wanted, struct error *err) {
    if (wanted <= heap->capacity)
        return 0;
    uint32_t capacity = heap->capacity ? heap->capacity : HEAP_FIRST;
    while (capacity < wanted)
        capacity *= 2;
    struct heap_node **nodes = realloc(heap->nodes, capacity * sizeof *nodes);
    if (!nodes)
        return error_nomem(err);
    heap->nodes = nodes;
    heap->capacity = capacity;
    return 0;
}

int heap_put(struct heap *heap, struct heap_node *node, int64_t key, struct error *err) {
    if (node->index == HEAP_OUTSIDE) {
        if (heap_reserve(heap, heap->len + 1, err) < 0)
            return -1;
        node->key = key;
        place(heap, node, heap->len++);
        sift_up(heap, node);
        return 0;
    }
    node->key = key;
    sift_up(heap, node);
    sift_down(heap, node);
    return 0;
}

void heap_remove(struct heap *heap, struct heap_node *node) {
    if (node->index == HEAP_OUTSIDE)
        return;
    struct heap_node *last = heap->nodes[--heap->len];
    if (last != node) {
        place(heap, last, node->index);
        sift_up(heap, last);
        sift_down(heap, last);
    }
    node->index = HEAP_OUTSIDE;
}

struct heap_node *heap_peek(const struct heap *heap) {
    return heap->len ? heap->nodes[0] : NULL;
}
