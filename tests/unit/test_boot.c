/* Installations: made once, taken up after a start that was cut short, refused when
 * they are unsafe or damaged. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/keyring/boot.h"

TestSuite(boot, .timeout = 20);

static char dir[64];
static char recovery[96];
static struct kv_boot_config config;
static struct kv_boot boot;
static struct kv_err err;

static void setup(void)
{
    (void)strcpy(dir, "/tmp/kv-boot-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(recovery, sizeof(recovery), "%s/recovery", dir);
    config = (struct kv_boot_config){.state_dir = dir,
                                     .may_init = true,
                                     .recovery_out = recovery,
                                     .rand = kv_rand_system()};
}

static void teardown(void)
{
    char command[96];
    (void)snprintf(command, sizeof(command), "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

static int start(void)
{
    err = KV_ERR_INIT;
    return kv_boot_open(&boot, &config, &err);
}

static const char *in_dir(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

Test(boot, makes_an_installation_once, .init = setup, .fini = teardown)
{
    uint8_t id[KV_ID_LEN];
    struct stat st;
    cr_assert_eq(start(), 0, "%s", err.message);
    cr_expect(boot.is_new);
    memcpy(id, kv_seal_installation(boot.seal), KV_ID_LEN);
    kv_boot_close(&boot);
    cr_assert_eq(stat(recovery, &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0600);
    cr_assert_eq(start(), 0);
    cr_expect_not(boot.is_new);
    cr_expect_eq(memcmp(id, kv_seal_installation(boot.seal), KV_ID_LEN), 0);
    kv_boot_close(&boot);
    kv_boot_close(&boot); /* a second time is fine */
}

Test(boot, without_leave_nothing_is_made, .init = setup, .fini = teardown)
{
    config.may_init = false;
    cr_expect_eq(start(), KV_E_IO);
    cr_expect_str_eq(err.id, "boot.no-directory");
    cr_expect_neq(err.hint[0], '\0');
    kv_boot_close(&boot);
    cr_assert_eq(mkdir(in_dir("keyring"), 0700), 0);
    cr_expect_eq(start(), KV_E_NOT_FOUND);
    cr_expect_str_eq(err.id, "slot.no-file");
    kv_boot_close(&boot);
}

Test(boot, needs_a_place_for_the_recovery_key, .init = setup, .fini = teardown)
{
    config.recovery_out = NULL;
    cr_expect_eq(start(), KV_E_INVALID);
    cr_expect_str_eq(err.id, "recovery.no-file");
    kv_boot_close(&boot);
    config.recovery_out = "/nonexistent/recovery";
    cr_expect_eq(start(), KV_E_IO);
    cr_expect_str_eq(err.id, "recovery.write-failed");
    kv_boot_close(&boot);
    config.recovery_out = recovery;
    cr_expect_eq(start(), 0, "the keyfile of that start is taken up: %s", err.message);
    kv_boot_close(&boot);
}

Test(boot, recovery_key_of_a_start_cut_short_is_not_overwritten, .init = setup,
     .fini = teardown)
{
    const int fd = open(recovery, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    close(fd);
    cr_expect_eq(start(), KV_E_EXISTS);
    cr_expect_neq(err.hint[0], '\0', "says that it opens nothing");
    kv_boot_close(&boot);
    cr_assert_neq(access(in_dir("keyring/slots"), F_OK), 0, "no installation");
    cr_assert_eq(unlink(recovery), 0);
    cr_expect_eq(start(), 0);
    kv_boot_close(&boot);
}

Test(boot, one_keyring_has_the_directory, .init = setup, .fini = teardown)
{
    struct kv_boot second;
    cr_assert_eq(start(), 0);
    cr_expect_eq(kv_boot_open(&second, &config, &err), KV_E_BUSY);
    cr_expect_str_eq(err.id, "boot.running");
    kv_boot_close(&second);
    kv_boot_close(&boot);
    cr_expect_eq(start(), 0);
    kv_boot_close(&boot);
}

Test(boot, unsafe_directories_are_refused, .init = setup, .fini = teardown)
{
    cr_assert_eq(start(), 0);
    kv_boot_close(&boot);
    cr_assert_eq(chmod(in_dir("keyring"), 0750), 0);
    cr_expect_eq(start(), KV_E_DENIED);
    cr_expect_str_eq(err.id, "boot.unsafe-directory");
    kv_boot_close(&boot);
    char real[128];
    (void)snprintf(real, sizeof(real), "%s", in_dir("real"));
    cr_assert_eq(rename(in_dir("keyring"), real), 0);
    cr_assert_eq(chmod(real, 0700), 0);
    cr_assert_eq(symlink("real", in_dir("keyring")), 0);
    cr_expect_eq(start(), KV_E_IO, "a link is not followed");
    cr_expect_str_eq(err.id, "boot.no-directory");
    kv_boot_close(&boot);
    config.state_dir = "/nonexistent";
    cr_expect_eq(start(), KV_E_IO);
    kv_boot_close(&boot);
}

Test(boot, half_a_restore_is_not_started, .init = setup, .fini = teardown)
{
    cr_assert_eq(start(), 0);
    kv_boot_close(&boot);
    FILE *mark = fopen(in_dir("keyring/" KV_RESTORING_FILE), "w");
    cr_assert_not_null(mark);
    (void)fclose(mark);
    cr_expect_eq(start(), KV_E_STATE);
    cr_expect_str_eq(err.id, "boot.restoring");
    kv_boot_close(&boot);
    config.is_restoring = true;
    cr_expect_eq(start(), 0);
    kv_boot_close(&boot);
    (void)unlink(in_dir("keyring/" KV_RESTORING_FILE));
}

/* Each byte of the slots file; its checksum comes before any secret is tried. */
Test(boot, damaged_slots_open_nothing, .init = setup, .fini = teardown)
{
    uint8_t byte = 0;
    cr_assert_eq(start(), 0);
    kv_boot_close(&boot);
    const int fd = open(in_dir("keyring/slots"), O_RDWR | O_CLOEXEC);
    const off_t len = lseek(fd, 0, SEEK_END);
    cr_assert_gt(len, 100);
    for (off_t at = 0; at < len; at += 7) {
        cr_assert_eq(pread(fd, &byte, 1, at), 1);
        byte ^= 0x10;
        cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
        cr_expect_eq(start(), KV_E_INTEGRITY, "byte %ld", (long)at);
        cr_expect_null(boot.seal);
        kv_boot_close(&boot);
        byte ^= 0x10;
        cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
    cr_expect_eq(start(), 0);
    kv_boot_close(&boot);
}
