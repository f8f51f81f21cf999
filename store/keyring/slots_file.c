/*
 * The slots file.
 *
 *   "KVSLOTS1" | format u16 = 1 | installation 16 | generation u32 | next id u32 |
 *   n u8 | n x (kind u8 | id u32 | salt 32 | check 16 | params bytes | wrapped bytes) |
 *   SHA-256 of everything before | HMAC-SHA256 of everything before it
 *
 * The HMAC key is HKDF(root key, "keyvault slots 1"): whoever edits the file without
 * the root key is found out as soon as one slot opens. A new file is written beside
 * the old one and renamed over it.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/keyring/keyfile.h"
#include "store/keyring/seal.h"
#include "store/keyring/slots.h"

#define FORMAT 1
#define DIGEST_LEN 32
#define MAGIC_LEN 8
#define FILE_MAX 16384
#define TMP_FILE "slots.tmp"

static const char magic[MAGIC_LEN + 1] = "KVSLOTS1";

static int file_mac(struct kv_bytes content, const struct kv_secret *root,
                    uint8_t mac[DIGEST_LEN])
{
    static const char label[] = "keyvault slots 1";
    uint8_t key[32];
    unsigned len = 0;
    int rc = kv_hkdf(
        (struct kv_bytes){root->data, root->len}, (struct kv_bytes){NULL, 0},
        (struct kv_bytes){(const uint8_t *)label, sizeof(label) - 1}, key, sizeof(key));
    if (rc == 0 && HMAC(EVP_sha256(), key, sizeof(key), content.data, content.len, mac,
                        &len) == NULL)
        rc = KV_E_CRYPTO;
    kv_wipe(key, sizeof(key));
    ERR_clear_error();
    return rc;
}

static int file_digest(struct kv_bytes content, uint8_t digest[DIGEST_LEN])
{
    const int ok =
        EVP_Digest(content.data, content.len, digest, NULL, EVP_sha256(), NULL);
    ERR_clear_error();
    return ok == 1 ? 0 : KV_E_CRYPTO;
}

int kv_slots_encode(const struct kv_slots *slots, const struct kv_secret *root,
                    struct kv_buf *out)
{
    int rc = 0;
    uint8_t digest[DIGEST_LEN];
    const size_t start = out->len;
    kv_wire_put_raw(out, magic, MAGIC_LEN);
    kv_wire_put_u16(out, FORMAT);
    kv_wire_put_raw(out, slots->installation, KV_ID_LEN);
    kv_wire_put_u32(out, slots->generation);
    kv_wire_put_u32(out, slots->next_id);
    kv_wire_put_u8(out, slots->n);
    for (uint8_t i = 0; i < slots->n; i++) {
        const struct kv_slot *slot = &slots->slot[i];
        kv_wire_put_u8(out, slot->kind);
        kv_wire_put_u32(out, slot->id);
        kv_wire_put_raw(out, slot->salt, sizeof(slot->salt));
        kv_wire_put_raw(out, slot->check, sizeof(slot->check));
        kv_wire_put_bytes(out, slot->params, slot->params_len);
        kv_wire_put_bytes(out, slot->wrapped, slot->wrapped_len);
    }
    KV_TRY(kv_buf_status(out));
    KV_TRY(file_digest((struct kv_bytes){out->data + start, out->len - start}, digest));
    kv_wire_put_raw(out, digest, DIGEST_LEN);
    KV_TRY(kv_buf_status(out));
    KV_TRY(
        file_mac((struct kv_bytes){out->data + start, out->len - start}, root, digest));
    kv_wire_put_raw(out, digest, DIGEST_LEN);
    rc = kv_buf_status(out);
out:
    return rc;
}

static void slot_read(struct kv_wire *wire, struct kv_slot *slot)
{
    *slot = (struct kv_slot){.kind = kv_wire_u8(wire)};
    slot->id = kv_wire_u32(wire);
    kv_wire_raw(wire, slot->salt, sizeof(slot->salt));
    kv_wire_raw(wire, slot->check, sizeof(slot->check));
    const struct kv_bytes params = kv_wire_bytes(wire, sizeof(slot->params));
    const struct kv_bytes wrapped = kv_wire_bytes(wire, sizeof(slot->wrapped));
    if (slot->kind < KV_SLOT_KEYFILE || slot->kind > KV_SLOT_PKCS11)
        kv_wire_fail(wire);
    if (wire->failed)
        return;
    slot->params_len = (uint16_t)params.len;
    if (params.len > 0)
        memcpy(slot->params, params.data, params.len);
    slot->wrapped_len = (uint16_t)wrapped.len;
    if (wrapped.len > 0)
        memcpy(slot->wrapped, wrapped.data, wrapped.len);
}

static int damaged(struct kv_err *err)
{
    return kv_err_set(err, KV_E_INTEGRITY, "slot.damaged",
                      "the file '%s' in the keyring directory is damaged",
                      KV_SLOTS_FILE);
}

int kv_slots_decode(struct kv_bytes file, struct kv_slots *slots, struct kv_err *err)
{
    uint8_t digest[DIGEST_LEN];
    const size_t fixed = MAGIC_LEN + 2 + (size_t)2 * DIGEST_LEN;
    if (file.len < fixed || file.len > FILE_MAX ||
        memcmp(file.data, magic, MAGIC_LEN) != 0)
        return damaged(err);
    const size_t content_len = file.len - (size_t)2 * DIGEST_LEN;
    const int rc = file_digest((struct kv_bytes){file.data, content_len}, digest);
    if (rc != 0)
        return rc;
    if (memcmp(digest, file.data + content_len, DIGEST_LEN) != 0)
        return damaged(err);

    struct kv_wire wire;
    kv_wire_init(&wire, file.data + MAGIC_LEN, content_len - MAGIC_LEN);
    const uint16_t format = kv_wire_u16(&wire);
    if (format != FORMAT)
        return kv_err_set(err, KV_E_UNSUPPORTED, "slot.newer-format",
                          "the slots file has format %u, this program reads %d", format,
                          FORMAT);
    struct kv_slots found = {.n = 0};
    kv_wire_raw(&wire, found.installation, KV_ID_LEN);
    found.generation = kv_wire_u32(&wire);
    found.next_id = kv_wire_u32(&wire);
    found.n = kv_wire_u8(&wire);
    if (found.n == 0 || found.n > KV_SLOTS_MAX)
        return damaged(err);
    for (uint8_t i = 0; i < found.n; i++)
        slot_read(&wire, &found.slot[i]);
    if (kv_wire_end(&wire) != 0)
        return damaged(err);
    *slots = found;
    return 0;
}

int kv_slots_verify(struct kv_bytes file, const struct kv_secret *root,
                    struct kv_err *err)
{
    uint8_t mac[DIGEST_LEN];
    if (file.len < DIGEST_LEN)
        return damaged(err);
    const size_t content_len = file.len - DIGEST_LEN;
    const int rc = file_mac((struct kv_bytes){file.data, content_len}, root, mac);
    if (rc != 0)
        return rc;
    return kv_equal_ct(mac, file.data + content_len, DIGEST_LEN) ? 0 : damaged(err);
}

int kv_slots_load(int dir_fd, struct kv_slots *slots, struct kv_buf *file,
                  struct kv_err *err)
{
    int rc = 0;
    const int fd = openat(dir_fd, KV_SLOTS_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return kv_err_set(err, KV_E_NOT_FOUND, "slot.no-file",
                          "the keyring directory has no file '%s'", KV_SLOTS_FILE);
    if (fd < 0)
        return kv_err_errno(err, errno, "slot.read-failed", KV_SLOTS_FILE);
    rc = kv_file_read(fd, FILE_MAX, file);
    if (rc == KV_E_IO)
        (void)kv_err_errno(err, errno, "slot.read-failed", KV_SLOTS_FILE);
    else if (rc == KV_E_TOO_BIG)
        rc = damaged(err);
    if (rc == 0)
        rc = kv_slots_decode((struct kv_bytes){file->data, file->len}, slots, err);
    close(fd);
    return rc;
}

int kv_slots_save(int dir_fd, const struct kv_slots *slots,
                  const struct kv_secret *root, struct kv_err *err)
{
    int rc = 0;
    struct kv_buf out;
    kv_buf_init(&out, FILE_MAX);
    KV_TRY(kv_slots_encode(slots, root, &out));
    if (unlinkat(dir_fd, TMP_FILE, 0) != 0 && errno != ENOENT) {
        rc = kv_err_errno(err, errno, "slot.write-failed", TMP_FILE);
        goto out;
    }
    const struct kv_file_new file = {
        .dir_fd = dir_fd, .name = TMP_FILE, .mode = 0600, .id = "slot.write-failed"};
    KV_TRY(kv_file_write_new(&file, (struct kv_bytes){out.data, out.len}, err));
    if (renameat(dir_fd, TMP_FILE, dir_fd, KV_SLOTS_FILE) != 0 || fsync(dir_fd) != 0)
        rc = kv_err_errno(err, errno, "slot.write-failed", KV_SLOTS_FILE);
out:
    kv_buf_free(&out);
    return rc;
}
