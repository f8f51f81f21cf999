/*
 * Slots in memory: adding, opening, removing.
 *
 *   slot key = HKDF-SHA256(secret, salt, "keyvault slot 1" | installation | id | kind)
 *   wrapped  = AES-256-WRAP-PAD(root key) under the slot key
 *   check    = HKDF-SHA256(root key, salt, "keyvault check 1"), 16 bytes
 */
#include "store/keyring/slots.h"

#include <string.h>

#include "store/keyring/seal.h"

static int slot_key(const struct kv_slots *slots, const struct kv_slot *slot,
                    struct kv_bytes secret, uint8_t key[32])
{
    static const char label[] = "keyvault slot 1";
    struct kv_buf info;
    kv_buf_init(&info, 64);
    kv_wire_put_raw(&info, label, sizeof(label) - 1);
    kv_wire_put_raw(&info, slots->installation, KV_ID_LEN);
    kv_wire_put_u32(&info, slot->id);
    kv_wire_put_u8(&info, slot->kind);
    int rc = kv_buf_status(&info);
    if (rc == 0)
        rc = kv_hkdf(secret, (struct kv_bytes){slot->salt, sizeof(slot->salt)},
                     (struct kv_bytes){info.data, info.len}, key, 32);
    kv_buf_free(&info);
    return rc;
}

static int check_value(const struct kv_slot *slot, struct kv_bytes root, uint8_t *check)
{
    static const char label[] = "keyvault check 1";
    return kv_hkdf(root, (struct kv_bytes){slot->salt, sizeof(slot->salt)},
                   (struct kv_bytes){(const uint8_t *)label, sizeof(label) - 1}, check,
                   KV_SLOT_CHECK_LEN);
}

int kv_slots_create(struct kv_slots *slots, struct kv_secret *root,
                    const struct kv_rand *rand)
{
    int rc = 0;
    struct kv_secret fresh = {0};
    *slots = (struct kv_slots){.generation = 1, .next_id = 1};
    KV_TRY(kv_rand_fill(rand, slots->installation, KV_ID_LEN));
    KV_TRY(kv_secret_init(&fresh, KV_ROOT_LEN));
    KV_TRY(kv_rand_fill(rand, fresh.data, fresh.len));
    *root = fresh;
    fresh = (struct kv_secret){0};
out:
    kv_secret_free(&fresh);
    return rc;
}

int kv_slots_add(struct kv_slots *slots, uint8_t kind, struct kv_bytes secret,
                 const struct kv_secret *root, const struct kv_rand *rand,
                 struct kv_err *err)
{
    int rc = 0;
    uint8_t key[32];
    struct kv_buf wrapped;
    kv_buf_init(&wrapped, 256);
    if (slots->n >= KV_SLOTS_MAX)
        return kv_err_set(err, KV_E_FULL, "slot.full", "all %d slots are in use",
                          KV_SLOTS_MAX);
    struct kv_slot *slot = &slots->slot[slots->n];
    *slot = (struct kv_slot){.kind = kind, .id = slots->next_id};
    KV_TRY(kv_rand_fill(rand, slot->salt, sizeof(slot->salt)));
    KV_TRY(slot_key(slots, slot, secret, key));
    KV_TRY(check_value(slot, (struct kv_bytes){root->data, root->len}, slot->check));
    KV_TRY(kv_key_wrap(key, (struct kv_bytes){root->data, root->len}, &wrapped));
    KV_ASSERT(wrapped.len <= sizeof(slot->wrapped));
    memcpy(slot->wrapped, wrapped.data, wrapped.len);
    slot->wrapped_len = (uint16_t)wrapped.len;
    slots->n++;
    slots->next_id++;
out:
    kv_wipe(key, sizeof(key));
    kv_buf_free(&wrapped);
    return rc;
}

int kv_slots_remove(struct kv_slots *slots, uint32_t id, struct kv_err *err)
{
    uint8_t i = 0;
    while (i < slots->n && slots->slot[i].id != id)
        i++;
    if (i == slots->n)
        return kv_err_set(err, KV_E_NOT_FOUND, "slot.none", "there is no slot %u", id);
    if (slots->n == 1)
        return kv_err_set(err, KV_E_STATE, "slot.last",
                          "slot %u is the last one that opens the root key", id);
    memmove(&slots->slot[i], &slots->slot[i + 1],
            (size_t)(slots->n - i - 1) * sizeof(slots->slot[0]));
    slots->n--;
    return 0;
}

static int unlock_one(const struct kv_slots *slots, const struct kv_slot *slot,
                      struct kv_bytes secret, struct kv_buf *plain)
{
    int rc = 0;
    uint8_t key[32];
    uint8_t check[KV_SLOT_CHECK_LEN];
    kv_buf_reset(plain);
    KV_TRY(slot_key(slots, slot, secret, key));
    KV_TRY(
        kv_key_unwrap(key, (struct kv_bytes){slot->wrapped, slot->wrapped_len}, plain));
    if (plain->len != KV_ROOT_LEN) {
        rc = KV_E_INTEGRITY;
        goto out;
    }
    KV_TRY(check_value(slot, (struct kv_bytes){plain->data, plain->len}, check));
    rc = kv_equal_ct(check, slot->check, sizeof(check)) ? 0 : KV_E_INTEGRITY;
out:
    kv_wipe(key, sizeof(key));
    return rc;
}

int kv_slots_unlock(const struct kv_slots *slots, uint8_t kind, struct kv_bytes secret,
                    struct kv_secret *root, struct kv_err *err)
{
    int rc = KV_E_NOT_FOUND;
    bool is_open = false;
    struct kv_buf plain;
    kv_buf_init_secret(&plain, 256);
    for (uint8_t i = 0; i < slots->n && !is_open; i++) {
        if (slots->slot[i].kind != kind)
            continue;
        rc = unlock_one(slots, &slots->slot[i], secret, &plain);
        is_open = rc == 0;
    }
    if (is_open)
        rc = kv_secret_init_from(root, plain.data, plain.len);
    else if (rc == KV_E_NOT_FOUND)
        (void)kv_err_set(err, rc, "slot.none", "no slot of this kind exists");
    else if (rc == KV_E_INTEGRITY)
        rc = kv_err_set(err, KV_E_DENIED, "slot.wrong-secret",
                        "the secret opens none of the slots");
    kv_buf_free(&plain);
    return rc;
}
