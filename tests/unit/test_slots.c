#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/keyring/keyfile.h"
#include "store/keyring/seal.h"
#include "store/keyring/slots.h"

TestSuite(slots, .timeout = 20);

static struct kv_slots slots;
static struct kv_secret root;
static char dir[] = "/tmp/kv-slots-XXXXXX";
static int dir_fd = -1;
static const struct kv_bytes right = {(const uint8_t *)"0123456789abcdef", 16};
static const struct kv_bytes wrong = {(const uint8_t *)"0123456789abcdeF", 16};

static void setup(void)
{
    cr_assert_not_null(mkdtemp(dir));
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(dir_fd, 0);
    cr_assert_eq(kv_slots_create(&slots, &root, kv_rand_system()), 0);
    cr_assert_eq(
        kv_slots_add(&slots, KV_SLOT_KEYFILE, right, &root, kv_rand_system(), NULL), 0);
}

static void teardown(void)
{
    static const char *const names[] = {"slots", "slots.tmp", "keyfile", "link"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        (void)unlinkat(dir_fd, names[i], 0);
    kv_secret_free(&root);
    close(dir_fd);
    (void)rmdir(dir);
}

Test(slots, any_slot_opens_the_same_root_key, .init = setup, .fini = teardown)
{
    struct kv_secret opened = {0};
    cr_assert_eq(
        kv_slots_add(&slots, KV_SLOT_RECOVERY, wrong, &root, kv_rand_system(), NULL),
        0);
    cr_assert_eq(kv_slots_unlock(&slots, KV_SLOT_KEYFILE, right, &opened, NULL), 0);
    cr_assert_eq(memcmp(opened.data, root.data, KV_ROOT_LEN), 0);
    kv_secret_free(&opened);
    cr_assert_eq(kv_slots_unlock(&slots, KV_SLOT_RECOVERY, wrong, &opened, NULL), 0);
    cr_assert_eq(memcmp(opened.data, root.data, KV_ROOT_LEN), 0);
    kv_secret_free(&opened);
}

Test(slots, wrong_secret_opens_nothing_and_says_so, .init = setup, .fini = teardown)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_secret opened = {0};
    cr_assert_eq(kv_slots_unlock(&slots, KV_SLOT_KEYFILE, wrong, &opened, &err),
                 KV_E_DENIED);
    cr_assert_str_eq(err.id, "slot.wrong-secret");
    cr_assert_null(opened.data);
    err = KV_ERR_INIT;
    cr_assert_eq(kv_slots_unlock(&slots, KV_SLOT_RECOVERY, right, &opened, &err),
                 KV_E_NOT_FOUND);
    cr_assert_str_eq(err.id, "slot.none");
}

Test(slots, holds_eight_and_keeps_the_last, .init = setup, .fini = teardown)
{
    struct kv_err err = KV_ERR_INIT;
    for (int i = 1; i < KV_SLOTS_MAX; i++)
        cr_assert_eq(kv_slots_add(&slots, KV_SLOT_RECOVERY, right, &root,
                                  kv_rand_system(), NULL),
                     0);
    cr_assert_eq(
        kv_slots_add(&slots, KV_SLOT_RECOVERY, right, &root, kv_rand_system(), &err),
        KV_E_FULL);
    cr_assert_str_eq(err.id, "slot.full");
    for (uint32_t id = 1; id < KV_SLOTS_MAX; id++)
        cr_assert_eq(kv_slots_remove(&slots, id, NULL), 0);
    err = KV_ERR_INIT;
    cr_assert_eq(kv_slots_remove(&slots, KV_SLOTS_MAX, &err), KV_E_STATE);
    cr_assert_str_eq(err.id, "slot.last");
    err = KV_ERR_INIT;
    cr_assert_eq(kv_slots_remove(&slots, 99, &err), KV_E_NOT_FOUND);
}

static int load(struct kv_slots *out, struct kv_secret *opened, struct kv_err *err)
{
    struct kv_buf file;
    kv_buf_init(&file, 65536);
    int rc = kv_slots_load(dir_fd, out, &file, err);
    if (rc == 0)
        rc = kv_slots_unlock(out, KV_SLOT_KEYFILE, right, opened, err);
    if (rc == 0)
        rc = kv_slots_verify((struct kv_bytes){file.data, file.len}, opened, err);
    kv_buf_free(&file);
    return rc;
}

Test(slots, file_comes_back_as_saved, .init = setup, .fini = teardown)
{
    struct kv_slots again;
    struct kv_secret opened = {0};
    struct stat st;
    cr_assert_eq(kv_slots_save(dir_fd, &slots, &root, NULL), 0);
    cr_assert_eq(load(&again, &opened, NULL), 0);
    cr_assert_eq(again.n, 1);
    cr_assert_eq(again.generation, 1);
    cr_assert_eq(again.next_id, 2);
    cr_assert_eq(memcmp(again.installation, slots.installation, KV_ID_LEN), 0);
    cr_assert_eq(fstatat(dir_fd, "slots", &st, 0), 0);
    cr_assert_eq(st.st_mode & 07777, 0600);
    kv_secret_free(&opened);
}

Test(slots, refuses_a_file_with_any_byte_changed_or_missing, .init = setup,
     .fini = teardown)
{
    struct kv_buf file;
    struct kv_slots again;
    kv_buf_init(&file, 65536);
    cr_assert_eq(kv_slots_encode(&slots, &root, &file), 0);
    const struct kv_bytes bytes = {file.data, file.len};
    cr_assert_eq(kv_slots_decode(bytes, &again, NULL), 0);
    cr_assert_eq(kv_slots_verify(bytes, &root, NULL), 0);
    for (size_t i = 0; i < file.len; i++) {
        file.data[i] ^= 1;
        int rc = kv_slots_decode(bytes, &again, NULL);
        if (rc == 0)
            rc = kv_slots_verify(bytes, &root, NULL);
        cr_assert_eq(rc, KV_E_INTEGRITY, "byte %zu", i);
        file.data[i] ^= 1;
    }
    for (size_t len = 0; len < file.len; len++)
        cr_assert_eq(kv_slots_decode((struct kv_bytes){file.data, len}, &again, NULL),
                     KV_E_INTEGRITY);
    kv_buf_free(&file);
}

Test(slots, crash_before_the_rename_leaves_the_old_file, .init = setup,
     .fini = teardown)
{
    struct kv_slots again;
    struct kv_secret opened = {0};
    cr_assert_eq(kv_slots_save(dir_fd, &slots, &root, NULL), 0);
    /* What a crash leaves: the new file half written beside the old one. */
    const int fd = openat(dir_fd, "slots.tmp", O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(write(fd, "KVSL", 4), 4);
    close(fd);
    cr_assert_eq(load(&again, &opened, NULL), 0);
    kv_secret_free(&opened);
    cr_assert_eq(
        kv_slots_add(&slots, KV_SLOT_RECOVERY, wrong, &root, kv_rand_system(), NULL),
        0);
    cr_assert_eq(kv_slots_save(dir_fd, &slots, &root, NULL), 0);
    cr_assert_eq(load(&again, &opened, NULL), 0);
    cr_assert_eq(again.n, 2);
    cr_assert_neq(faccessat(dir_fd, "slots.tmp", F_OK, 0), 0);
    kv_secret_free(&opened);
}

Test(slots, full_disk_leaves_the_old_file_and_no_other, .init = setup, .fini = teardown)
{
    struct kv_slots again;
    struct kv_secret opened = {0};
    struct kv_err err = KV_ERR_INIT;
    struct rlimit old;
    cr_assert_eq(kv_slots_save(dir_fd, &slots, &root, NULL), 0);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    const struct rlimit small = {.rlim_cur = 40, .rlim_max = old.rlim_max};
    cr_assert_neq(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    slots.generation = 2;
    const int rc = kv_slots_save(dir_fd, &slots, &root, &err);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    cr_assert_neq(rc, 0);
    cr_assert_str_eq(err.id, "slot.write-failed");
    cr_assert_neq(faccessat(dir_fd, "slots.tmp", F_OK, 0), 0);
    cr_assert_eq(load(&again, &opened, NULL), 0);
    cr_assert_eq(again.generation, 1);
    kv_secret_free(&opened);
}

Test(slots, missing_file_says_so, .init = setup, .fini = teardown)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_secret opened = {0};
    cr_assert_eq(load(&slots, &opened, &err), KV_E_NOT_FOUND);
    cr_assert_str_eq(err.id, "slot.no-file");
}

static const char *keyfile_refusal(void)
{
    static struct kv_err err;
    struct kv_secret secret = {0};
    err = KV_ERR_INIT;
    if (kv_keyfile_load(dir_fd, &secret, &err) == 0)
        kv_secret_free(&secret);
    return err.id;
}

Test(slots, keyfile_is_made_once_and_read_back, .init = setup, .fini = teardown)
{
    struct kv_secret one = {0};
    cr_assert_eq(kv_keyfile_create(dir_fd, kv_rand_system(), NULL), 0);
    cr_assert_eq(kv_keyfile_load(dir_fd, &one, NULL), 0);
    cr_assert_eq(one.len, KV_KEYFILE_LEN);
    kv_secret_free(&one);
    cr_assert_eq(kv_keyfile_create(dir_fd, kv_rand_system(), NULL), KV_E_EXISTS);
}

Test(slots, keyfile_that_others_could_have_touched_is_refused, .init = setup,
     .fini = teardown)
{
    cr_assert_str_eq(keyfile_refusal(), "keyfile.read-failed");
    cr_assert_eq(kv_keyfile_create(dir_fd, kv_rand_system(), NULL), 0);
    cr_assert_eq(fchmodat(dir_fd, "keyfile", 0440, 0), 0);
    cr_assert_str_eq(keyfile_refusal(), "keyfile.wrong-mode");
    cr_assert_eq(fchmodat(dir_fd, "keyfile", 0600, 0), 0);
    cr_assert_str_eq(keyfile_refusal(), "keyfile.wrong-mode");
    const int fd = openat(dir_fd, "keyfile", O_WRONLY | O_APPEND);
    cr_assert_eq(write(fd, "x", 1), 1);
    close(fd);
    cr_assert_eq(fchmodat(dir_fd, "keyfile", 0400, 0), 0);
    cr_assert_str_eq(keyfile_refusal(), "keyfile.wrong-size");
    if (geteuid() == 0) {
        cr_assert_eq(fchownat(dir_fd, "keyfile", 65534, 65534, 0), 0);
        cr_assert_str_eq(keyfile_refusal(), "keyfile.wrong-owner");
    }
    cr_assert_eq(renameat(dir_fd, "keyfile", dir_fd, "link"), 0);
    cr_assert_eq(symlinkat("link", dir_fd, "keyfile"), 0);
    cr_assert_str_eq(keyfile_refusal(), "keyfile.not-regular");
    cr_assert_eq(unlinkat(dir_fd, "keyfile", 0), 0);
    cr_assert_eq(mkfifoat(dir_fd, "keyfile", 0400), 0);
    cr_assert_str_eq(keyfile_refusal(), "keyfile.not-regular");
}
