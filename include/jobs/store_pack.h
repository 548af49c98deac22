/*
 * store_pack: a Job in as few bytes as its decision needs, and back. For the store only.
 *
 * Nothing is lost by it, but that texts are cut to STORE_TEXT_MAX bytes. What nearly every Job has is in the entry, as
 * numbers; what is seldom there, or not as the API server writes it, is in its extra. Loop thread.
 */
#pragma once

#include "jobs/store.h"

/* What a uid is found by. */
struct store_key {
    uint64_t uid[2];
    const char *text; /* NULL: it is a UUID */
};

struct store_key store_key_of(const char *uid);
bool store_key_is_of(const struct store_key *key, const struct store_entry *entry);

/* Packs the Job into the entry, whose name is long enough for it or, when that is another one, stays. What the entry
 * had is dropped. -1 when out of memory, and then the entry is as it was. */
int store_pack(struct store *store, struct store_entry *entry, const struct job *job) must_check;
/* Before the entry is freed. */
void store_pack_drop(struct store *store, struct store_entry *entry);
