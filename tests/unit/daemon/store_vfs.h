/* SPDX-License-Identifier: MIT */
/*
 * A disk that fails, under SQLite: an SQLite VFS over the system's that counts writes and syncs,
 * fails from the nth on, and knows what was written since the last sync of each file, so that
 * disk_cut_power() can lose any part of that, sector by sector.
 *
 * I1  What was synced is never lost.  What was not is lost or kept at random, each 512 bytes.
 * I2  Used by one thread at a time (the opener, then the store thread), as the store does.
 * Header only: every test is one source file.
 */
#pragma once

#include "store_support.h"

#include <sqlite3.h>

#define DISK_SECTOR 512

/* A write that is not synced yet: what was there before. */
struct disk_write {
    struct disk_write *before; /* newest first */
    char path[128];
    int64_t offset, file_size;
    size_t size, old_size; /* of old, which ends where the file ended */
    unsigned char old[];
};

static struct {
    sqlite3_vfs vfs, *real;
    long countdown; /* writes and syncs until the disk fails; negative: never */
    int code;       /* with which it then fails */
    bool broken;
    struct disk_write *unsynced;
} disk = {.countdown = -1};

struct disk_file {
    sqlite3_file base;
    char path[128];
    sqlite3_file *real; /* in the same block, behind */
};

#define REAL(file) ((struct disk_file *)(file))->real

static int disk_step(void)
{
    if (disk.countdown == 0)
        disk.broken = true;
    if (disk.countdown > 0)
        disk.countdown--;
    return disk.broken ? disk.code : SQLITE_OK;
}

static void disk_remember(struct disk_file *file, int size, int64_t offset)
{
    struct disk_write *write = calloc(1, sizeof *write + (size_t)size);
    sqlite3_int64 file_size = 0;
    file->real->pMethods->xFileSize(file->real, &file_size);
    int64_t there = file_size - offset;
    write->offset = offset;
    write->file_size = file_size;
    write->size = (size_t)size;
    write->old_size = there <= 0 ? 0 : there < size ? (size_t)there : (size_t)size;
    strcpy(write->path, file->path);
    if (write->old_size > 0)
        file->real->pMethods->xRead(file->real, write->old, (int)write->old_size, offset);
    write->before = disk.unsynced;
    disk.unsynced = write;
}

static void disk_forget(const char *path)
{
    for (struct disk_write **link = &disk.unsynced; *link;) {
        struct disk_write *write = *link;
        if (path && strcmp(write->path, path) != 0) {
            link = &write->before;
            continue;
        }
        *link = write->before;
        free(write);
    }
}

/* Undo one write, as a disk may: some sectors were written, others were not. */
static void disk_undo(const struct disk_write *write)
{
    static const unsigned char zeros[DISK_SECTOR];
    char renamed[128];
    strcpy(renamed, write->path);
    if (strstr(renamed, ".new") && !strstr(renamed, "-journal"))
        *strstr(renamed, ".new") = '\0';
    int fd = open(write->path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        fd = open(renamed, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return; /* the file was removed: nothing to undo */
    for (size_t at = 0; at < write->size; at += DISK_SECTOR) {
        size_t part = write->size - at < DISK_SECTOR ? write->size - at : DISK_SECTOR;
        bool was_there = at + part <= write->old_size;
        if (random_below(2))
            cr_assert_eq(
                pwrite(fd, was_there ? write->old + at : zeros, part, write->offset + (int64_t)at),
                (ssize_t)part);
    }
    if (random_below(4) == 0 && write->offset >= write->file_size)
        cr_assert_eq(ftruncate(fd, write->file_size), 0);
    close(fd);
}

/* After the store was freed: what was not synced is lost, or not. */
UNUSED static void disk_cut_power(void)
{
    for (struct disk_write *write = disk.unsynced; write; write = write->before)
        disk_undo(write);
    disk_forget(NULL);
}

/* ---- methods of a file ----------------------------------------------------------------------- */

static int disk_write_bytes(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    int code = disk_step();
    if (code != SQLITE_OK)
        return code;
    disk_remember((struct disk_file *)file, size, offset);
    return REAL(file)->pMethods->xWrite(REAL(file), data, size, offset);
}

static int disk_sync(sqlite3_file *file, int flags)
{
    int code = disk_step();
    if (code != SQLITE_OK)
        return code == SQLITE_FULL ? SQLITE_IOERR_FSYNC : code;
    disk_forget(((struct disk_file *)file)->path);
    return REAL(file)->pMethods->xSync(REAL(file), flags);
}

static int disk_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return disk.broken ? disk.code : REAL(file)->pMethods->xTruncate(REAL(file), size);
}

static int disk_close(sqlite3_file *file)
{
    return REAL(file)->pMethods->xClose(REAL(file));
}

static int disk_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
    return REAL(file)->pMethods->xRead(REAL(file), data, size, offset);
}

static int disk_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    return REAL(file)->pMethods->xFileSize(REAL(file), ret_size);
}

static int disk_lock(sqlite3_file *file, int level)
{
    return REAL(file)->pMethods->xLock(REAL(file), level);
}

static int disk_unlock(sqlite3_file *file, int level)
{
    return REAL(file)->pMethods->xUnlock(REAL(file), level);
}

static int disk_reserved(sqlite3_file *file, int *ret_reserved)
{
    return REAL(file)->pMethods->xCheckReservedLock(REAL(file), ret_reserved);
}

static int disk_control(sqlite3_file *file, int what, void *arg)
{
    return REAL(file)->pMethods->xFileControl(REAL(file), what, arg);
}

static int disk_sector(sqlite3_file *file)
{
    return REAL(file)->pMethods->xSectorSize(REAL(file));
}

static int disk_features(sqlite3_file *file)
{
    return REAL(file)->pMethods->xDeviceCharacteristics(REAL(file));
}

static int disk_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **ret)
{
    return REAL(file)->pMethods->xShmMap(REAL(file), region, size, extend, ret);
}

static int disk_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return REAL(file)->pMethods->xShmLock(REAL(file), offset, count, flags);
}

static void disk_shm_barrier(sqlite3_file *file)
{
    REAL(file)->pMethods->xShmBarrier(REAL(file));
}

static int disk_shm_unmap(sqlite3_file *file, int remove_it)
{
    return REAL(file)->pMethods->xShmUnmap(REAL(file), remove_it);
}

static const sqlite3_io_methods disk_methods = {
    .iVersion = 2,
    .xClose = disk_close,
    .xRead = disk_read,
    .xWrite = disk_write_bytes,
    .xTruncate = disk_truncate,
    .xSync = disk_sync,
    .xFileSize = disk_size,
    .xLock = disk_lock,
    .xUnlock = disk_unlock,
    .xCheckReservedLock = disk_reserved,
    .xFileControl = disk_control,
    .xSectorSize = disk_sector,
    .xDeviceCharacteristics = disk_features,
    .xShmMap = disk_shm_map,
    .xShmLock = disk_shm_lock,
    .xShmBarrier = disk_shm_barrier,
    .xShmUnmap = disk_shm_unmap,
};

/* ---- the VFS --------------------------------------------------------------------------------- */

static int disk_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *opened, int flags,
                     int *ret_flags)
{
    struct disk_file *file = (struct disk_file *)opened;
    (void)vfs;
    memset(file, 0, sizeof *file);
    file->real = (sqlite3_file *)(file + 1);
    snprintf(file->path, sizeof file->path, "%s", path ? path : "");
    int code = disk.real->xOpen(disk.real, path, file->real, flags, ret_flags);
    if (file->real->pMethods)
        file->base.pMethods = &disk_methods;
    return code;
}

/* Put the disk under every database that is opened from now on. */
UNUSED static void disk_install(void)
{
    disk.real = sqlite3_vfs_find(NULL);
    disk.vfs = *disk.real;
    disk.vfs.zName = "failing-disk";
    disk.vfs.szOsFile = (int)sizeof(struct disk_file) + disk.real->szOsFile;
    disk.vfs.xOpen = disk_open;
    disk.vfs.pNext = NULL;
    cr_assert_eq(sqlite3_vfs_register(&disk.vfs, 1), SQLITE_OK);
}

/* Fail every write and sync after the next `steps`; negative: never. */
UNUSED static void disk_fail_after(long steps, int code)
{
    disk.countdown = steps;
    disk.code = code;
    disk.broken = false;
}
