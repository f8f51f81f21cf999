/*
 * Rows of a store that somebody else could write. The first byte chooses:
 *
 *   0  the input is a whole sealed row: it must not open
 *   1  the input is XORed over a real sealed row: it opens only when nothing changed
 *   2  the input is the plaintext of a key's row: refused, or read and written alike
 *   3  the input is the plaintext of a document: refused, or read
 *
 * The last two stand behind the seal; they must hold against a keyring of another
 * version and against a service that lies.
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle/service/internal.h"
#include "store/keyring/body.h"
#include "tests/support/room.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct kv_room room;
static struct kv_ident ident;
static struct kv_buf sealed;

static void set_up(void)
{
    const struct kv_key_attrs attrs = kv_room_attrs(KV_OP_SIGN);
    kv_room_init(&room);
    ident = kv_room_ident("fuzzed", 3);
    kv_buf_init(&sealed, KV_ROW_MAX);
    kv_room_key(&room, &ident, &attrs, &sealed);
}

static bool opens(struct kv_bytes row)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf plain;
    kv_buf_init_secret(&plain, KV_BODY_MAX);
    int rc = kv_ring_unseal(room.ring, &ident, row, &plain, &err);
    if (rc != 0 && (err.code != rc || plain.len != 0))
        abort(); /* a refusal says why and gives nothing away */
    kv_buf_free(&plain);
    return rc == 0;
}

static void open_changed(const uint8_t *mask, size_t len)
{
    struct kv_buf row;
    bool is_same = true;
    kv_buf_init(&row, KV_ROW_MAX);
    KV_ASSERT(kv_buf_append(&row, sealed.data, sealed.len) == 0);
    for (size_t i = 0; i < len && i < row.len; i++) {
        row.data[i] ^= mask[i];
        is_same = is_same && mask[i] == 0;
    }
    if (opens((struct kv_bytes){row.data, row.len}) != is_same)
        abort();
    kv_buf_free(&row);
}

static void read_body(struct kv_bytes plain)
{
    struct kv_body body;
    struct kv_buf again;
    kv_buf_init_secret(&again, KV_BODY_MAX);
    if (kv_body_get(plain, &body, NULL) == 0 &&
        (kv_body_put_again(&again, &body, &body.info.attrs) != 0 ||
         again.len != plain.len || memcmp(again.data, plain.data, plain.len) != 0))
        abort();
    kv_buf_free(&again);
}

static void read_document(struct kv_bytes plain)
{
    struct kv_object object;
    memset(&object, 0, sizeof(object));
    object.row.key.kind = KV_KIND_SECRET;
    object.row.nbf_s = KV_TIME_NONE;
    object.row.exp_s = KV_TIME_NONE;
    object.row.next_at_s = KV_TIME_NONE;
    if ((kv_object_read_doc(&object, plain, NULL) == 0) != (object.doc != NULL))
        abort();
    kv_object_free(&object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (room.ring == NULL)
        set_up();
    if (size < 1)
        return 0;
    const struct kv_bytes input = {size > 1 ? data + 1 : NULL, size - 1};
    switch (data[0]) {
    case 0:
        if (opens(input))
            abort();
        break;
    case 1:
        open_changed(input.data, input.len);
        break;
    case 2:
        read_body(input);
        break;
    case 3:
        read_document(input);
        break;
    default:
        break;
    }
    return 0;
}
