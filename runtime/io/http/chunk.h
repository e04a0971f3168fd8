/* SPDX-License-Identifier: MIT */
/* Bytes on their way between a fiber and the driver: a queue of blocks.  No locking of its own. */
#ifndef RUNTIME_IO_HTTP_CHUNK_H
#define RUNTIME_IO_HTTP_CHUNK_H

#include <stdlib.h>
#include <string.h>

#include "core/base.h"

struct http_chunk {
    struct http_chunk *next;
    size_t size;   /* bytes in it */
    size_t offset; /* of which so many are taken */
    char bytes[];
};

struct http_queue {
    struct http_chunk *first, *last;
    size_t bytes; /* held, with what the blocks themselves cost */
};

/** NULL: no memory. */
static inline struct http_chunk *chunk_new(size_t capacity)
{
    struct http_chunk *chunk = malloc(sizeof(*chunk) + capacity);

    if (chunk)
        chunk->next = NULL, chunk->size = 0, chunk->offset = 0;
    return chunk;
}

static inline void queue_push(struct http_queue *queue, struct http_chunk *chunk)
{
    if (queue->last)
        queue->last->next = chunk;
    else
        queue->first = chunk;
    queue->last = chunk;
    queue->bytes += sizeof(*chunk) + chunk->size;
}

static inline struct http_chunk *queue_pop(struct http_queue *queue)
{
    struct http_chunk *chunk = queue->first;

    if (!chunk)
        return NULL;
    queue->first = chunk->next;
    if (!queue->first)
        queue->last = NULL;
    queue->bytes -= sizeof(*chunk) + chunk->size;
    return chunk;
}

/** Take up to `size` bytes out of a block. */
static inline size_t chunk_take(struct http_chunk *chunk, void *buffer, size_t size)
{
    size_t left = chunk->size - chunk->offset;
    size_t taken = size < left ? size : left;

    memcpy(buffer, chunk->bytes + chunk->offset, taken);
    chunk->offset += taken;
    return taken;
}

static inline bool chunk_empty(const struct http_chunk *chunk)
{
    return chunk->offset == chunk->size;
}

static inline void queue_destroy(struct http_queue *queue)
{
    struct http_chunk *chunk;

    while ((chunk = queue_pop(queue)))
        free(chunk);
}

#endif
