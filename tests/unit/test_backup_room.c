#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lifecycle/backup/room.h"
#include "store/db/sqlite/sqlite.h"

/* A file with a hole is as large as it says, and takes no room. */
Test(backup_room, there_has_to_be_twice_the_size_of_the_store)
{
    char dir[] = "/tmp/kv-room.XXXXXX";
    char path[64];
    struct kv_err err = KV_ERR_INIT;
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/" KV_SQLITE_FILE, dir);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_expect_eq(kv_backup_check_room(dir, &err), 0);
    cr_assert_eq(ftruncate(fileno(file), (off_t)1 << 42), 0);
    cr_expect_eq(kv_backup_check_room(dir, &err), KV_E_FULL);
    cr_expect_str_eq(err.id, "backup.no-room");
    (void)fclose(file);
    (void)unlink(path);
    (void)rmdir(dir);
    err = KV_ERR_INIT;
    cr_expect_neq(kv_backup_check_room(dir, &err), 0);
    cr_expect_str_eq(err.id, "backup.no-room");
}
