/*
 * hash: uthash, set up so that running out of memory is an error and not the end. Include this, never <uthash.h>.
 *
 * HASH_ADD... may fail: then the element is not linked, the table is as it was, and hash_added says so. Everything else
 * needs no memory.
 */
#pragma once

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* Whether the last HASH_ADD of this element has worked. */
#define hash_added(element) ((element)->hh.tbl != NULL)
