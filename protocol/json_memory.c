/* SPDX-License-Identifier: MIT */
/* json_memory: see json_memory.h. */
#include "protocol/json_memory.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

static void *(*allocator)(size_t) = malloc; /* constant once there are threads */
static _Atomic uint64_t
    refusals; /* in all threads; relaxed: one's own are seen, others' do no harm */

static void *allocate(size_t size)
{
    void *block = allocator(size);
    if (!block && size > 0)
        atomic_fetch_add_explicit(&refusals, 1, memory_order_relaxed);
    return block;
}

void json_memory_watch(void *(*with)(size_t))
{
    allocator = with;
    json_set_alloc_funcs(allocate, free);
}

static bool says_so(const json_error_t *cause)
{
    return json_error_code(cause) == json_error_out_of_memory ||
           json_error_code(cause) == json_error_unknown; /* outside its lexer it says nothing */
}

int json_memory_load(const char *text, size_t size, size_t flags, json_error_t *cause,
                     json_t **ret_value)
{
    json_error_t ours;
    cause = cause ? cause : &ours;
    *cause = (json_error_t){0}; /* jansson does not set the code of every failure */
    uint64_t before = atomic_load_explicit(&refusals, memory_order_relaxed);
    json_t *value = json_loadb(text, size, flags, cause);
    bool refused = atomic_load_explicit(&refusals, memory_order_relaxed) != before;
    if (value && !refused) {
        *ret_value = value;
        return 0;
    }
    bool lacked = refused || says_so(cause);
    json_decref(value); /* its lexer leaves out bytes of a string for which there is no room */
    return lacked ? -ENOMEM : -EINVAL;
}
