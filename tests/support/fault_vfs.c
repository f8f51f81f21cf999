/*
 * An SQLite file layer that fails on demand: see fault_vfs.h.
 *
 * Handles of one file share a journal: for each sector written since the last sync
 * its old bytes, and the size of the file then. Power loss writes old bytes back,
 * which is what a disk shows that never got the new ones.
 */
#include "tests/support/fault_vfs.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/core/err.h"

#define SECTOR 512
#define JOURNALS_MAX 16

struct sector {
    sqlite3_int64 number;
    int len; /* bytes that were in the file */
    uint8_t data[SECTOR];
};

struct journal {
    char path[512];
    bool has_size;
    sqlite3_int64 size; /* at the last sync */
    struct sector *sector;
    size_t n;
    size_t cap;
};

struct fault_file {
    sqlite3_file base;
    struct journal *journal; /* NULL: files without a name */
    sqlite3_file *real;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct journal journals[JOURNALS_MAX];
static sqlite3_file *open_file[JOURNALS_MAX]; /* some handle of journal i, or NULL */
static sqlite3_vfs *real_vfs;
static sqlite3_vfs fault_vfs;
static unsigned n_operations;
static unsigned write_in;
static int write_rc;
static unsigned sync_in;
static int sync_rc;
static bool sync_lies;
static unsigned power_in;
static unsigned power_seed;
static int power_status;

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((struct fault_file *)file)->real;
}

static struct journal *journal_find(const char *path)
{
    size_t len = strlen(path);
    KV_ASSERT(len < sizeof(journals[0].path));
    for (size_t i = 0; i < JOURNALS_MAX; i++) {
        if (journals[i].path[0] == '\0')
            memcpy(journals[i].path, path, len + 1);
        if (strcmp(journals[i].path, path) == 0)
            return &journals[i];
    }
    abort();
}

static void journal_clear(struct journal *journal)
{
    journal->n = 0;
    journal->has_size = false;
}

static bool journal_has(const struct journal *journal, sqlite3_int64 number)
{
    for (size_t i = journal->n; i > 0; i--) {
        if (journal->sector[i - 1].number == number)
            return true;
    }
    return false;
}

/* Remember the sectors of a range, and the size, before they change. */
static void journal_keep(struct fault_file *file, sqlite3_int64 from, sqlite3_int64 to)
{
    struct journal *journal = file->journal;
    if (journal == NULL)
        return;
    if (!journal->has_size) {
        (void)file->real->pMethods->xFileSize(file->real, &journal->size);
        journal->has_size = true;
    }
    if (to > journal->size)
        to = journal->size; /* beyond it nothing was synced */
    for (sqlite3_int64 number = from / SECTOR; number * SECTOR < to; number++) {
        if (journal_has(journal, number))
            continue;
        if (journal->n == journal->cap) {
            journal->cap = journal->cap * 2 + 64;
            journal->sector =
                realloc(journal->sector, journal->cap * sizeof(*journal->sector));
            KV_ASSERT(journal->sector != NULL);
        }
        struct sector *sector = &journal->sector[journal->n++];
        memset(sector, 0, sizeof(*sector));
        sector->number = number;
        sqlite3_int64 left = journal->size - number * SECTOR;
        sector->len = left < SECTOR ? (int)left : SECTOR;
        (void)file->real->pMethods->xRead(file->real, sector->data, sector->len,
                                          number * SECTOR);
    }
}

static void power_off(void)
{
    bool is_half = rand_r(&power_seed) % 2 == 0;
    for (size_t i = 0; i < JOURNALS_MAX; i++) {
        sqlite3_file *file = open_file[i];
        const struct journal *journal = &journals[i];
        if (file == NULL || !journal->has_size)
            continue;
        for (size_t k = 0; k < journal->n; k++) {
            const struct sector *sector = &journal->sector[k];
            if (!is_half || rand_r(&power_seed) % 2 == 0)
                (void)file->pMethods->xWrite(file, sector->data, sector->len,
                                             sector->number * SECTOR);
        }
        if (!is_half || rand_r(&power_seed) % 2 == 0)
            (void)file->pMethods->xTruncate(file, journal->size);
    }
    _exit(power_status);
}

/* Count one operation; the mutex is held. */
static void tick(void)
{
    n_operations++;
    if (power_in > 0 && --power_in == 0)
        power_off();
}

static bool is_due(unsigned *countdown)
{
    return *countdown > 0 && --*countdown == 0;
}

static int on_close(sqlite3_file *file)
{
    struct fault_file *fault = (struct fault_file *)file;
    (void)pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < JOURNALS_MAX; i++) {
        if (open_file[i] == fault->real)
            open_file[i] = NULL;
    }
    (void)pthread_mutex_unlock(&mutex);
    return fault->real->pMethods->xClose(fault->real);
}

static int on_read(sqlite3_file *file, void *out, int len, sqlite3_int64 at)
{
    return real_of(file)->pMethods->xRead(real_of(file), out, len, at);
}

static int on_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 at)
{
    struct fault_file *fault = (struct fault_file *)file;
    (void)pthread_mutex_lock(&mutex);
    if (fault->journal != NULL)
        open_file[fault->journal - journals] = fault->real;
    tick();
    int rc = is_due(&write_in) ? write_rc : SQLITE_OK;
    if (rc == SQLITE_OK) {
        journal_keep(fault, at, at + len);
        rc = fault->real->pMethods->xWrite(fault->real, data, len, at);
    }
    (void)pthread_mutex_unlock(&mutex);
    return rc;
}

static int on_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct fault_file *fault = (struct fault_file *)file;
    sqlite3_int64 old = 0;
    (void)pthread_mutex_lock(&mutex);
    (void)fault->real->pMethods->xFileSize(fault->real, &old);
    journal_keep(fault, size, old);
    int rc = fault->real->pMethods->xTruncate(fault->real, size);
    (void)pthread_mutex_unlock(&mutex);
    return rc;
}

static int on_sync(sqlite3_file *file, int flags)
{
    struct fault_file *fault = (struct fault_file *)file;
    (void)pthread_mutex_lock(&mutex);
    tick();
    int rc = is_due(&sync_in) ? sync_rc : SQLITE_OK;
    if (rc == SQLITE_OK && !sync_lies) {
        rc = fault->real->pMethods->xSync(fault->real, flags);
        if (rc == SQLITE_OK && fault->journal != NULL)
            journal_clear(fault->journal);
    }
    (void)pthread_mutex_unlock(&mutex);
    return rc;
}

static int on_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int on_lock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int on_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int on_check_lock(sqlite3_file *file, int *out)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), out);
}

static int on_control(sqlite3_file *file, int op, void *arg)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}

static int on_sector_size(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int on_traits(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int on_shm_map(sqlite3_file *file, int page, int size, int extend,
                      void volatile **out)
{
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, out);
}

static int on_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, n, flags);
}

static void on_shm_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int on_shm_unmap(sqlite3_file *file, int delete_it)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), delete_it);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = on_close,
    .xRead = on_read,
    .xWrite = on_write,
    .xTruncate = on_truncate,
    .xSync = on_sync,
    .xFileSize = on_file_size,
    .xLock = on_lock,
    .xUnlock = on_unlock,
    .xCheckReservedLock = on_check_lock,
    .xFileControl = on_control,
    .xSectorSize = on_sector_size,
    .xDeviceCharacteristics = on_traits,
    .xShmMap = on_shm_map,
    .xShmLock = on_shm_lock,
    .xShmBarrier = on_shm_barrier,
    .xShmUnmap = on_shm_unmap,
};

static int on_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                   int *out_flags)
{
    struct fault_file *fault = (struct fault_file *)file;
    (void)vfs;
    fault->base.pMethods = NULL;
    fault->real = (sqlite3_file *)(void *)(fault + 1);
    fault->journal = NULL;
    int rc = real_vfs->xOpen(real_vfs, path, fault->real, flags, out_flags);
    if (rc != SQLITE_OK)
        return rc;
    (void)pthread_mutex_lock(&mutex);
    if (path != NULL)
        fault->journal = journal_find(path);
    (void)pthread_mutex_unlock(&mutex);
    fault->base.pMethods = &methods;
    return SQLITE_OK;
}

void fault_vfs_install(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    KV_ASSERT(real_vfs != NULL && real_vfs != &fault_vfs);
    fault_vfs = *real_vfs;
    fault_vfs.pNext = NULL;
    fault_vfs.zName = "fault";
    fault_vfs.szOsFile = (int)sizeof(struct fault_file) + real_vfs->szOsFile;
    fault_vfs.xOpen = on_open;
    KV_ASSERT(sqlite3_vfs_register(&fault_vfs, 1) == SQLITE_OK);
}

void fault_vfs_fail_write(unsigned n, int sqlite_rc)
{
    (void)pthread_mutex_lock(&mutex);
    write_in = n;
    write_rc = sqlite_rc;
    (void)pthread_mutex_unlock(&mutex);
}

void fault_vfs_fail_sync(unsigned n, int sqlite_rc)
{
    (void)pthread_mutex_lock(&mutex);
    sync_in = n;
    sync_rc = sqlite_rc;
    (void)pthread_mutex_unlock(&mutex);
}

void fault_vfs_lie_about_sync(bool lies)
{
    (void)pthread_mutex_lock(&mutex);
    sync_lies = lies;
    (void)pthread_mutex_unlock(&mutex);
}

void fault_vfs_power_off(unsigned n, unsigned seed, int status)
{
    (void)pthread_mutex_lock(&mutex);
    power_in = n;
    power_seed = seed;
    power_status = status;
    (void)pthread_mutex_unlock(&mutex);
}

unsigned fault_vfs_operations(void)
{
    (void)pthread_mutex_lock(&mutex);
    unsigned n = n_operations;
    (void)pthread_mutex_unlock(&mutex);
    return n;
}
