/* SPDX-License-Identifier: MIT */
/* A hash table of texts in shards, each under a mutex of its own, so that workers rarely meet. */
#include "table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

enum { SHARDS = 64, BUCKETS = 4096 };

struct entry {
    struct entry *next;
    struct text key, value;
};

static struct shard {
    struct weft_mutex lock;
    struct entry *buckets[BUCKETS];
    size_t count;
} table[SHARDS];

/* FNV-1a. */
static uint64_t hash(const struct text *key)
{
    uint64_t h = 14695981039346656037u;

    for (size_t i = 0; i < key->size; i++)
        h = (h ^ (unsigned char)key->data[i]) * 1099511628211u;
    return h;
}

static bool text_equal(const struct text *a, const struct text *b)
{
    return a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

static int text_copy(const struct text *from, struct text *ret_copy)
{
    char *data = malloc(from->size + 1);

    if (!data)
        return -ENOMEM;
    memcpy(data, from->data, from->size);
    data[from->size] = '\0';
    *ret_copy = (struct text){data, from->size};
    return 0;
}

/* Where the pointer to the key's entry stands, or would stand; its shard is locked. */
static struct entry **lookup(const struct text *key, struct shard **ret_shard)
{
    uint64_t h = hash(key);
    struct shard *shard = &table[h % SHARDS];
    struct entry **place = &shard->buckets[h / SHARDS % BUCKETS];

    weft_mutex_lock_shielded(&shard->lock);
    while (*place && !text_equal(&(*place)->key, key))
        place = &(*place)->next;
    *ret_shard = shard;
    return place;
}

/* Takes over value->data on success. */
static int put_locked(struct shard *shard, struct entry **place, const struct text *key,
                      struct text *value)
{
    if (!*place) {
        struct entry *entry = calloc(1, sizeof *entry);
        if (!entry || text_copy(key, &entry->key) < 0) {
            free(entry);
            return -ENOMEM;
        }
        *place = entry;
        shard->count++;
    }
    free((*place)->value.data);
    (*place)->value = *value;
    return 0;
}

int table_set(const struct text *key, const struct text *value)
{
    struct shard *shard;
    struct text copy;
    int r = text_copy(value, &copy);

    if (r < 0)
        return r;
    struct entry **place = lookup(key, &shard);
    r = put_locked(shard, place, key, &copy);
    weft_mutex_unlock(&shard->lock);
    if (r < 0)
        free(copy.data);
    return r;
}

/* -ENOENT: there is no such key. */
int table_get(const struct text *key, struct text *ret_value)
{
    struct shard *shard;
    struct entry **place = lookup(key, &shard);
    int r = *place ? text_copy(&(*place)->value, ret_value) : -ENOENT;

    weft_mutex_unlock(&shard->lock);
    return r;
}

bool table_delete(const struct text *key)
{
    struct shard *shard;
    struct entry **place = lookup(key, &shard), *entry = *place;

    if (entry) {
        *place = entry->next;
        shard->count--;
    }
    weft_mutex_unlock(&shard->lock);
    if (!entry)
        return false;
    free(entry->key.data);
    free(entry->value.data);
    free(entry);
    return true;
}

int parse_integer(const struct text *text, long long *ret_number)
{
    char *end;

    errno = 0;
    long long number = strtoll(text->data, &end, 10);
    if (errno || text->size == 0 || end != text->data + text->size)
        return -EINVAL;
    *ret_number = number;
    return 0;
}

/* -EINVAL: the value is no integer, -ERANGE: it would leave its range. */
int table_add(const struct text *key, long long step, long long *ret_sum)
{
    struct shard *shard;
    struct entry **place = lookup(key, &shard);
    struct text value = {NULL, 0};
    long long number = 0;
    int r = *place ? parse_integer(&(*place)->value, &number) : 0;

    if (r == 0 && __builtin_add_overflow(number, step, &number))
        r = -ERANGE;
    if (r == 0) {
        int size = asprintf(&value.data, "%lld", number);
        value.size = (size_t)size;
        r = size < 0 ? -ENOMEM : put_locked(shard, place, key, &value);
    }
    weft_mutex_unlock(&shard->lock);
    if (r == 0)
        *ret_sum = number;
    return r;
}

long long table_count(void)
{
    long long count = 0;

    for (int i = 0; i < SHARDS; i++) {
        weft_mutex_lock_shielded(&table[i].lock);
        count += (long long)table[i].count;
        weft_mutex_unlock(&table[i].lock);
    }
    return count;
}

void table_clear(void)
{
    for (int i = 0; i < SHARDS; i++) {
        weft_mutex_lock_shielded(&table[i].lock);
        for (int j = 0; j < BUCKETS; j++) {
            struct entry *entry;
            while ((entry = table[i].buckets[j])) {
                table[i].buckets[j] = entry->next;
                free(entry->key.data);
                free(entry->value.data);
                free(entry);
            }
        }
        table[i].count = 0;
        weft_mutex_unlock(&table[i].lock);
    }
}
