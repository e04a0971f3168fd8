/* SPDX-License-Identifier: MIT */
/*
 * Names for addresses.  The dynamic loader knows the modules; their exported functions are found
 * through it, static ones in the symbol table of the module's file, if it was not stripped.
 *
 *   I1  A table is mapped the first time that its module is asked for, and stays: there are as many
 *       as there are modules.
 *   I2  What a file says is checked against its size before it is believed: a file may have been
 *       replaced since it was loaded.  Then names may be missing, or wrong, and that is all.
 *
 * Any thread; it takes locks of the loader's and its own, so not in a signal handler.
 */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weft/dump.h"

enum { MODULE_NAME = 64 };

/* The symbol table of one module. */
struct module {
    struct module *next;
    uintptr_t bias; /* where it is loaded, less where it was linked to */
    char name[MODULE_NAME];
    const ElfW(Sym) * symbols;
    size_t symbol_count; /* 0: it has none */
    const char *names;
    size_t names_size;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct module *modules; /* guarded by lock */

/* A file, as far as it is mapped. */
struct image {
    const char *data;
    size_t size;
};

static bool image_map(struct image *image, const char *path)
{
    struct stat status;
    void *data = MAP_FAILED;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    if (fstat(fd, &status) == 0 && status.st_size > 0)
        data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (data == MAP_FAILED)
        return false;
    *image = (struct image){data, (size_t)status.st_size};
    return true;
}

/* I2: so many bytes at that offset, or NULL. */
static const void *image_at(const struct image *image, size_t offset, size_t size)
{
    if (offset > image->size || size > image->size - offset || offset % 8 != 0)
        return NULL;
    return image->data + offset;
}

static void module_read(struct module *module, const struct image *image,
                        const ElfW(Shdr) * sections, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const ElfW(Shdr) *table = &sections[i], *strings;

        if (table->sh_type != SHT_SYMTAB || table->sh_link >= count)
            continue;
        strings = &sections[table->sh_link];
        module->symbols = image_at(image, table->sh_offset, table->sh_size);
        if (strings->sh_offset < image->size && strings->sh_size > 0 &&
            strings->sh_size <= image->size - strings->sh_offset)
            module->names = image->data + strings->sh_offset;
        if (!module->symbols || !module->names || module->names[strings->sh_size - 1])
            return;
        module->names_size = strings->sh_size;
        module->symbol_count = table->sh_size / sizeof(ElfW(Sym));
        return;
    }
}

static void module_open(struct module *module, const char *path)
{
    struct image image;
    const ElfW(Ehdr) * header;
    const ElfW(Shdr) * sections;

    if (!image_map(&image, path))
        return;
    header = image_at(&image, 0, sizeof(*header));
    if (header && memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 &&
        header->e_shentsize == sizeof(ElfW(Shdr))) {
        sections = image_at(&image, header->e_shoff, header->e_shnum * sizeof(ElfW(Shdr)));
        if (sections)
            module_read(module, &image, sections, header->e_shnum);
    }
    if (module->symbol_count == 0)
        munmap((void *)image.data, image.size);
}

/* The loader has no path for the main program; and its argv[0] is anything. */
static void module_load(struct module *module, const char *path)
{
    char self[4096];
    const char *slash;
    ssize_t size;

    module_open(module, *path ? path : "/proc/self/exe");
    if (!*path) {
        size = readlink("/proc/self/exe", self, sizeof(self) - 1);
        self[size > 0 ? size : 0] = '\0';
        path = self;
    }
    slash = strrchr(path, '/');
    snprintf(module->name, sizeof(module->name), "%.*s", MODULE_NAME - 1, slash ? slash + 1 : path);
}

/* Under the lock.  NULL: no memory. */
static const struct module *module_of(const struct link_map *map)
{
    struct module *module;

    for (module = modules; module; module = module->next)
        if (module->bias == map->l_addr)
            return module;
    module = calloc(1, sizeof(*module));
    if (!module)
        return NULL;
    module->bias = map->l_addr;
    module_load(module, map->l_name ? map->l_name : "");
    module->next = modules;
    modules = module;
    return module;
}

/* The function around an offset, or NULL. */
static const char *module_find(const struct module *module, uintptr_t offset, uintptr_t *ret_start)
{
    for (size_t i = 0; i < module->symbol_count; i++) {
        const ElfW(Sym) *symbol = &module->symbols[i];

        if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || symbol->st_name >= module->names_size)
            continue;
        if (offset >= symbol->st_value && offset - symbol->st_value < symbol->st_size) {
            *ret_start = symbol->st_value;
            return module->names + symbol->st_name;
        }
    }
    return NULL;
}

static const struct module *find_module(const struct link_map *map)
{
    const struct module *module;

    pthread_mutex_lock(&lock);
    module = module_of(map);
    pthread_mutex_unlock(&lock);
    return module; /* constant from now on */
}

/* How much of a symbol is the function's name: in code for shared objects the compiler calls an
 * exported function of the same file by an alias, "name.localalias". */
static int name_length(const char *symbol)
{
    const char *alias = strstr(symbol, ".localalias");

    return (int)(alias ? (size_t)(alias - symbol) : strlen(symbol));
}

const char *weft_symbol_text(const void *address, char ret_text[WEFT_SYMBOL_TEXT])
{
    uintptr_t call = (uintptr_t)address - 1, start = 0, offset;
    const struct module *module = NULL;
    struct link_map *map = NULL;
    const char *function;
    Dl_info info;

    if (dladdr1((const void *)call, &info, (void **)&map, RTLD_DL_LINKMAP) && map)
        module = find_module(map);
    if (!module) {
        snprintf(ret_text, WEFT_SYMBOL_TEXT, "%p", (void *)call);
        return ret_text;
    }
    offset = call - map->l_addr;
    function = module_find(module, offset, &start);
    if (!function && info.dli_sname) {
        function = info.dli_sname;
        start = (uintptr_t)info.dli_saddr - map->l_addr;
    }
    if (function)
        snprintf(ret_text, WEFT_SYMBOL_TEXT, "%.*s+%#zx (%s+%#zx)", name_length(function), function,
                 (size_t)(offset - start), module->name, (size_t)offset);
    else
        snprintf(ret_text, WEFT_SYMBOL_TEXT, "(%s+%#zx)", module->name, (size_t)offset);
    return ret_text;
}
