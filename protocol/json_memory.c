/* SPDX-License-Identifier: MIT */
/*
 * json_memory: see json_memory.h.
 *
 * I1  A load that is refused memory is left at once, by longjmp(): jansson's lexer would go on without
 *     the bytes that it had no room for, and, if one of them ended a string, behind the end of its
 *     text (2.14, strbuffer_append() in lex_save()).  jansson keeps nothing outside its arguments, so
 *     it may be left anywhere.
 * I2  What the load had allocated by then is freed: each allocation and each release is logged, and
 *     what was allocated more often than released is live.
 * I3  A load does not leave its thread (it waits for nothing), so the load of a thread is in a
 *     variable of that.
 * I4  The first failure of a dump sticks: jansson goes on behind the name of a member that was not
 *     taken (2.14, dump_string() in do_dump()), and what is not JSON would be taken for the whole.
 */
#include "protocol/json_memory.h"

#include <errno.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOG_BEGINS = 128,  /* entries: most requests need no more */
    DUMP_BEGINS = 256, /* bytes */
    DUMP_DEPTH = 1000  /* values in each other: in a loop there is no end of them */
};

/* A block, with the lowest bit set if it was released. */
typedef uintptr_t entry;

struct load {
    jmp_buf left; /* I1 */
    entry *log;
    size_t count, capacity;
    json_t *value;
    entry begin[LOG_BEGINS];
};

static void *(*allocator)(size_t) = malloc; /* constant once there are threads */
static _Thread_local struct load *loading;  /* I3 */

static bool log_entry(struct load *load, entry one)
{
    if (load->count == load->capacity) {
        entry *more = allocator(2 * load->capacity * sizeof *more);
        if (!more)
            return false;
        memcpy(more, load->log, load->count * sizeof *more);
        if (load->log != load->begin)
            free(load->log);
        load->log = more;
        load->capacity *= 2;
    }
    load->log[load->count++] = one;
    return true;
}

static void *allocate(size_t size)
{
    struct load *load = loading;
    void *block = allocator(size);
    if (!load)
        return block;
    if (block && log_entry(load, (entry)block))
        return block;
    free(block);
    longjmp(load->left, 1);
}

static void release(void *block)
{
    if (block && loading && !log_entry(loading, (entry)block | 1))
        longjmp(loading->left, 1); /* by the log it is live */
    free(block);
}

void json_memory_watch(void *(*with)(size_t))
{
    allocator = with;
    json_set_alloc_funcs(allocate, release);
}

/* The entries of a block beside each other. */
static int compare(const void *a, const void *b)
{
    entry one = *(const entry *)a >> 1, other = *(const entry *)b >> 1;
    return one < other ? -1 : one > other;
}

/* I2 */
static void free_live(struct load *load)
{
    qsort(load->log, load->count, sizeof *load->log, compare);
    for (size_t i = 0, next; i < load->count; i = next) {
        entry block = load->log[i] & ~(entry)1;
        size_t releases = 0;
        for (next = i; next < load->count && load->log[next] >> 1 == block >> 1; next++)
            releases += load->log[next] & 1;
        if (next - i > 2 * releases)
            free((void *)block); /* NOLINT(performance-no-int-to-ptr): it was one */
    }
}

static bool says_so(const json_error_t *cause)
{
    return json_error_code(cause) == json_error_out_of_memory ||
           json_error_code(cause) == json_error_unknown; /* outside its lexer it says nothing */
}

/* Returns: whether it came to its end; load->value is NULL then, if the text is wrong. */
static bool try_load(struct load *load, const char *text, size_t size, size_t flags,
                     json_error_t *cause)
{
    if (setjmp(load->left) != 0)
        return false;
    load->value = json_loadb(text, size, flags, cause);
    return true;
}

int __attribute__((noinline)) /* I3: by the thread that it is called on */
json_memory_load(const char *text, size_t size, size_t flags, json_error_t *cause,
                 json_t **ret_value)
{
    struct load load; /* as it is: most of it is not used */
    json_error_t ours;
    cause = cause ? cause : &ours;
    *cause = (json_error_t){0}; /* jansson does not set the code of every failure */
    load.log = load.begin;
    load.count = 0;
    load.capacity = LOG_BEGINS;
    loading = &load;
    bool ended = try_load(&load, text, size, flags, cause);
    loading = NULL;
    if (!ended)
        free_live(&load);
    if (load.log != load.begin)
        free(load.log);
    if (!ended || (!load.value && says_so(cause)))
        return -ENOMEM;
    if (!load.value)
        return -EINVAL;
    *ret_value = load.value;
    return 0;
}

json_t *json_memory_value(const char *text)
{
    json_t *value = NULL;
    (void)json_memory_load(text, strlen(text), JSON_DECODE_ANY, NULL, &value);
    return value;
}

/* ---- values to text -------------------------------------------------------------------------- */

/* I4 */
struct dump {
    char *text;
    size_t size, capacity;
    bool failed;
};

static int grow(struct dump *dump, size_t size)
{
    size_t capacity = dump->capacity ? dump->capacity : DUMP_BEGINS;
    while (capacity - dump->size < size)
        capacity *= 2;
    char *text = allocator(capacity);
    if (!text)
        return -ENOMEM;
    if (dump->size > 0)
        memcpy(text, dump->text, dump->size);
    free(dump->text);
    dump->text = text;
    dump->capacity = capacity;
    return 0;
}

static int on_dump(const char *bytes, size_t size, void *arg)
{
    struct dump *dump = arg;
    if (!dump->failed && dump->capacity - dump->size < size)
        dump->failed = grow(dump, size) < 0;
    if (dump->failed)
        return -1;
    memcpy(dump->text + dump->size, bytes, size);
    dump->size += size;
    return 0;
}

char *json_memory_dumps(const json_t *value, size_t flags)
{
    struct dump dump = {0};
    if (json_dump_callback(value, on_dump, &dump, flags) < 0 || on_dump("", 1, &dump) < 0 ||
        dump.failed) {
        free(dump.text);
        return NULL;
    }
    char *text = realloc(dump.text, dump.size);
    return text ? text : dump.text;
}

/* ---- values of values ------------------------------------------------------------------------ */

json_t *json_memory_append(json_t *list, json_t *value)
{
    if (json_array_append_new(list, value) == 0)
        return list;
    json_decref(list);
    return NULL;
}

json_t *json_memory_set(json_t *object, const char *name, json_t *value)
{
    if (json_object_set_new(object, name, value) == 0)
        return object;
    json_decref(object);
    return NULL;
}

/* json_pack() looks at the text before it allocates, and says what it found. */
int json_memory_refusal(const char *text)
{
    json_error_t cause = {0};
    json_decref(json_pack_ex(&cause, 0, "s", text));
    return json_error_code(&cause) == json_error_invalid_utf8 ? -EILSEQ : -ENOMEM;
}

/* text ends with a NUL at size, and may hold others. */
static bool is_utf8(const char *text, size_t size)
{
    for (size_t at = 0; at <= size; at += strlen(text + at) + 1) {
        if (json_memory_refusal(text + at) == -EILSEQ)
            return false;
    }
    return true;
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as DUMP_DEPTH */
static bool can_be_written(const json_t *value, size_t depth)
{
    size_t i;
    const char *name;
    json_t *inner;
    if (depth > DUMP_DEPTH)
        return false;
    if (json_is_string(value))
        return is_utf8(json_string_value(value), json_string_length(value));
    json_array_foreach(value, i, inner)
    {
        if (!can_be_written(inner, depth + 1))
            return false;
    }
    json_object_foreach((json_t *)value, name, inner)
    {
        if (!is_utf8(name, strlen(name)) || !can_be_written(inner, depth + 1))
            return false;
    }
    return true;
}

int json_memory_dump_refusal(const json_t *value)
{
    return can_be_written(value, 0) ? -ENOMEM : -EINVAL;
}

int json_memory_update_missing(json_t *object, const json_t *other)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)other, key, value)
    {
        if (!json_object_get(object, key) && json_object_set(object, key, value) < 0)
            return -ENOMEM;
    }
    return 0;
}
