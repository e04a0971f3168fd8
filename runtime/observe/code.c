/* SPDX-License-Identifier: MIT */
/* The executable segments of all modules, and what a call looks like in them. */
#include "observe/code.h"

#include <link.h>
#include <string.h>

static void add_segment(struct code_map *map, uintptr_t bias, const ElfW(Phdr) * header)
{
    if (header->p_type != PT_LOAD || !(header->p_flags & PF_X) || map->count == CODE_RANGES)
        return;
    map->range[map->count].low = bias + header->p_vaddr;
    map->range[map->count].high = bias + header->p_vaddr + header->p_memsz;
    map->count++;
}

static int add_module(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++)
        add_segment(arg, info->dlpi_addr, &info->dlpi_phdr[i]);
    return 0;
}

void code_map_read(struct code_map *map)
{
    map->count = 0;
    dl_iterate_phdr(add_module, map);
}

#if defined(__x86_64__)
enum { CALL_SIZE_MAX = 7 };

/* `end` points behind the instruction.  CALL rel32, or CALL r/m64 with its length by the ModR/M
 * byte; a prefix does not matter. */
static bool is_behind_call(const uint8_t *end)
{
    return end[-5] == 0xe8 || (end[-2] == 0xff && (end[-1] & 0xf8) == 0xd0) ||
           (end[-2] == 0xff && (end[-1] & 0x38) == 0x10 && (end[-1] & 0xc0) == 0) ||
           (end[-3] == 0xff && (end[-2] & 0x38) == 0x10) ||
           (end[-4] == 0xff && (end[-3] & 0xf8) == 0x50) ||
           (end[-6] == 0xff && (end[-5] & 0x38) == 0x10) ||
           (end[-7] == 0xff && (end[-6] & 0xf8) == 0x90);
}
#elif defined(__aarch64__)
enum { CALL_SIZE_MAX = 4 };

/* BL, or BLR with or without pointer authentication. */
static bool is_behind_call(const uint8_t *end)
{
    uint32_t instruction;

    memcpy(&instruction, end - 4, sizeof(instruction));
    return (instruction & 0xfc000000) == 0x94000000 || (instruction & 0xfefff000) == 0xd63f0000;
}
#endif

bool code_is_return(const struct code_map *map, uintptr_t address)
{
    for (unsigned i = 0; i < map->count; i++)
        if (address >= map->range[i].low + CALL_SIZE_MAX && address <= map->range[i].high)
            return is_behind_call((const uint8_t *)address);
    return false;
}
