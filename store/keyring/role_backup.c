/*
 * Codec of the key of a backup file.
 */
#include "store/keyring/codec.h"
#include "store/keyring/role.h"

void kv_role_backup_key_put(struct kv_buf *out, const struct kv_role_backup_key *msg)
{
    kv_wire_put_raw(out, msg->key, sizeof(msg->key));
    kv_codec_bytes_put(out, msg->wrapped);
    kv_codec_bytes_put(out, msg->slots);
    kv_wire_put_u8(out, msg->opens_elsewhere);
}

int kv_role_backup_key_get(struct kv_bytes payload, struct kv_role_backup_key *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_wire_raw(&wire, msg->key, sizeof(msg->key));
    msg->wrapped = kv_wire_bytes(&wire, KV_BACKUP_WRAPPED_MAX);
    msg->slots = kv_wire_bytes(&wire, KV_BACKUP_SLOTS_MAX);
    msg->opens_elsewhere = kv_wire_u8(&wire);
    if (msg->opens_elsewhere > 1)
        kv_wire_fail(&wire);
    return kv_wire_end(&wire);
}
