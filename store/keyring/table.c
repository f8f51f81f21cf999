/*
 * Chained hash over index links: buckets and nodes are arrays, so nothing is
 * allocated after birth and an operation touches a handful of cache lines.
 *
 *   buckets[hash] -> node -> node        one chain per bucket
 *   newest <-> ... <-> oldest            one list through all nodes in use
 *   free   -> node -> node               the rest
 */
#include "store/keyring/table.h"

#include <stdlib.h>
#include <string.h>

#define KEY_MAX 64
#define NONE KV_TABLE_NONE

struct node {
    uint32_t chain; /* next in the bucket, or next free */
    uint32_t newer;
    uint32_t older;
};

struct kv_table {
    uint32_t capacity;
    uint32_t count;
    uint32_t mask;
    uint32_t newest;
    uint32_t oldest;
    uint32_t free;
    size_t key_len;
    uint64_t seed;
    uint32_t *buckets;
    struct node *nodes;
    uint8_t *keys;
};

static uint32_t bucket_of(const struct kv_table *table, const uint8_t *key)
{
    uint64_t hash = table->seed ^ 0xcbf29ce484222325u;
    for (size_t i = 0; i < table->key_len; i++) {
        hash ^= key[i];
        hash *= 0x100000001b3u;
        hash ^= hash >> 29;
    }
    return (uint32_t)(hash >> 20) & table->mask;
}

static uint8_t *key_at(const struct kv_table *table, uint32_t index)
{
    return table->keys + (size_t)index * table->key_len;
}

struct kv_table *kv_table_new(uint32_t capacity, size_t key_len, uint64_t seed)
{
    KV_ASSERT(capacity > 0 && capacity < (1u << 24) && key_len > 0 &&
              key_len <= KEY_MAX);
    struct kv_table *table = calloc(1, sizeof(*table));
    if (table == NULL)
        return NULL;
    uint32_t n_buckets = 16;
    while (n_buckets < capacity)
        n_buckets *= 2;
    *table = (struct kv_table){.capacity = capacity,
                               .mask = n_buckets - 1,
                               .newest = NONE,
                               .oldest = NONE,
                               .key_len = key_len,
                               .seed = seed};
    table->buckets = malloc(n_buckets * sizeof(*table->buckets));
    table->nodes = calloc(capacity, sizeof(*table->nodes));
    table->keys = calloc(capacity, key_len);
    if (table->buckets == NULL || table->nodes == NULL || table->keys == NULL) {
        kv_table_free(table);
        return NULL;
    }
    memset(table->buckets, 0xff, n_buckets * sizeof(*table->buckets));
    for (uint32_t i = 0; i < capacity; i++)
        table->nodes[i].chain = i + 1 < capacity ? i + 1 : NONE;
    return table;
}

void kv_table_free(struct kv_table *table)
{
    if (table == NULL)
        return;
    free(table->buckets);
    free(table->nodes);
    free(table->keys);
    free(table);
}

uint32_t kv_table_count(const struct kv_table *table)
{
    return table->count;
}

static void list_remove(struct kv_table *table, uint32_t index)
{
    const struct node *node = &table->nodes[index];
    if (node->newer != NONE)
        table->nodes[node->newer].older = node->older;
    else
        table->newest = node->older;
    if (node->older != NONE)
        table->nodes[node->older].newer = node->newer;
    else
        table->oldest = node->newer;
}

static void list_push(struct kv_table *table, uint32_t index)
{
    struct node *node = &table->nodes[index];
    node->newer = NONE;
    node->older = table->newest;
    if (table->newest != NONE)
        table->nodes[table->newest].newer = index;
    else
        table->oldest = index;
    table->newest = index;
}

static uint32_t chain_find(const struct kv_table *table, const uint8_t *key)
{
    uint32_t index = table->buckets[bucket_of(table, key)];
    while (index != NONE && memcmp(key_at(table, index), key, table->key_len) != 0)
        index = table->nodes[index].chain;
    return index;
}

uint32_t kv_table_find(struct kv_table *table, const void *key)
{
    const uint32_t index = chain_find(table, key);
    if (index != NONE && index != table->newest) {
        list_remove(table, index);
        list_push(table, index);
    }
    return index;
}

uint32_t kv_table_put(struct kv_table *table, const void *key,
                      void (*on_evict)(void *arg, uint32_t index), void *arg,
                      bool *is_new)
{
    uint32_t index = kv_table_find(table, key);
    *is_new = index == NONE;
    if (index != NONE)
        return index;
    if (table->free == NONE) {
        const uint32_t victim = table->oldest;
        if (on_evict != NULL)
            on_evict(arg, victim);
        kv_table_remove(table, victim);
    }
    index = table->free;
    struct node *node = &table->nodes[index];
    table->free = node->chain;
    memcpy(key_at(table, index), key, table->key_len);
    uint32_t *bucket = &table->buckets[bucket_of(table, key)];
    node->chain = *bucket;
    *bucket = index;
    list_push(table, index);
    table->count++;
    return index;
}

void kv_table_remove(struct kv_table *table, uint32_t index)
{
    uint32_t *link = &table->buckets[bucket_of(table, key_at(table, index))];
    while (*link != index) {
        KV_ASSERT(*link != NONE);
        link = &table->nodes[*link].chain;
    }
    *link = table->nodes[index].chain;
    list_remove(table, index);
    memset(key_at(table, index), 0, table->key_len);
    table->nodes[index].chain = table->free;
    table->free = index;
    table->count--;
}

uint32_t kv_table_first(const struct kv_table *table)
{
    return table->newest;
}

uint32_t kv_table_next(const struct kv_table *table, uint32_t index)
{
    return table->nodes[index].older;
}

const void *kv_table_key(const struct kv_table *table, uint32_t index)
{
    return key_at(table, index);
}
