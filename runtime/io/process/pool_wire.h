/* SPDX-License-Identifier: MIT */
/*
 * What a pool and its worker processes say to each other over a socket.  Both are the same program,
 * or linked with the same library, on one machine: structs go as they are in memory.  The worker
 * may have run anybody's code, so the pool believes nothing that it says.
 *
 *   pool -> worker   struct pool_request, then its object, symbol and input
 *   worker -> pool   struct pool_answer, then its output; one for each request, in order
 */
#ifndef RUNTIME_IO_PROCESS_POOL_WIRE_H
#define RUNTIME_IO_PROCESS_POOL_WIRE_H

#include <limits.h>
#include <stdint.h>

#define POOL_MAGIC    UINT32_C(0x574f5054)
#define POOL_ARGUMENT "--weft-pool-worker"

enum {
    POOL_FD = 3, /* the worker's end */
    POOL_SYMBOL_MAX = 4096
};

/* Where a function is. */
enum pool_kind {
    POOL_NONE,   /* nowhere: a greeting, which is answered */
    POOL_INIT,   /* as POOL_OFFSET, of the type of an init function */
    POOL_OFFSET, /* so far behind the beginning of the object */
    POOL_SYMBOL  /* under a name in the object */
};

struct pool_request {
    uint32_t magic;
    uint32_t kind; /* enum pool_kind */
    uint64_t offset;
    uint32_t object_size; /* with its end; 0: the program itself */
    uint32_t symbol_size; /* with its end; 0: none */
    uint64_t input_size;
    uint64_t reply_limit;  /* most bytes of output */
    uint64_t cpu_limit_ns; /* of this call; 0: none */
};

struct pool_answer {
    uint32_t magic;
    int32_t error;  /* the worker's: 0, -ENOENT, -ENOMEM, -EMSGSIZE */
    int32_t result; /* the function's */
    uint32_t reserved;
    uint64_t size; /* of the output */
};

/** The argument of a worker; that pool.c refers to it brings pool_worker.c into the program. */
extern const char pool_worker_argument[];

#endif
