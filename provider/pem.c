/*
 * PEM in bounded memory.
 *
 * libcrypto's reader keeps a whole block; ours looks at 255 bytes at a time and keeps a
 * block only if it has our label, up to the size that a key file can have. As there, a
 * block begins and ends with a line of its own (RFC 7468 §2), and a reader stops behind
 * one block so that the next one is found by the next reader.
 */
#include "provider/pem.h"

#include <string.h>

#include "store/core/b64.h"
#include "store/core/keyref.h"
#include "store/core/secret.h"

#define BEGIN_MARK "-----BEGIN "
#define END_MARK "-----END "
#define BEGIN_OURS "-----BEGIN " KV_KEYREF_PEM_LABEL "-----"
#define END_OURS "-----END " KV_KEYREF_PEM_LABEL "-----"
#define MAX_TEXT ((size_t)4 * ((KV_KEYREF_DER_MAX + 2) / 3))

/* A piece of a line: all of it, unless it is very long. */
struct piece {
    char text[256];
    size_t len;    /* without white space at the end */
    bool is_first; /* of its line */
    bool is_last;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* False at the end of the stream. */
static bool next_piece(BIO *bio, struct piece *piece)
{
    bool is_first = piece->is_last;
    int n = BIO_gets(bio, piece->text, (int)sizeof(piece->text));
    if (n <= 0)
        return false;
    piece->is_first = is_first;
    piece->is_last = piece->text[n - 1] == '\n';
    piece->len = (size_t)n;
    while (piece->len > 0 && is_space(piece->text[piece->len - 1]))
        piece->len--;
    piece->text[piece->len] = '\0';
    return true;
}

static bool begins_with(const struct piece *piece, const char *mark)
{
    return piece->is_first && strncmp(piece->text, mark, strlen(mark)) == 0;
}

static bool is_begin_line(const struct piece *piece)
{
    return begins_with(piece, BEGIN_MARK) &&
           piece->len >= strlen(BEGIN_MARK) + strlen("-----") &&
           strcmp(piece->text + piece->len - strlen("-----"), "-----") == 0;
}

static void skip_block(BIO *bio, struct piece *piece)
{
    while (next_piece(bio, piece) && !begins_with(piece, END_MARK))
        ; /* of no concern to us */
}

static int malformed(struct kv_err *err)
{
    int rc = kv_err_set(err, KV_E_INVALID, "keyref.malformed",
                        "the %s block is damaged", KV_KEYREF_PEM_LABEL);
    kv_err_hint(err, "write the key file again with `keyvault key uri-pem`");
    return rc;
}

/* What a failure of a buffer means here. */
static int no_room(int rc, struct kv_err *err)
{
    if (rc != KV_E_TOO_BIG)
        return kv_err_set(err, rc, "keyref.no-memory", "out of memory");
    return kv_err_set(err, rc, "keyref.too-big", "the %s block has more than %d bytes",
                      KV_KEYREF_PEM_LABEL, KV_KEYREF_DER_MAX);
}

/* Append the text of our block, up to its end line. */
static int collect(BIO *bio, struct piece *piece, struct kv_buf *text,
                   struct kv_err *err)
{
    while (next_piece(bio, piece)) {
        if (piece->is_first && strcmp(piece->text, END_OURS) == 0)
            return 0;
        if (begins_with(piece, "-"))
            return malformed(err); /* another block begins or ends in this one */
        int rc = kv_buf_append(text, piece->text, piece->len);
        if (rc != 0)
            return no_room(rc, err);
    }
    return malformed(err);
}

static int read_ours(BIO *bio, struct piece *piece, struct kv_buf *der,
                     struct kv_err *err)
{
    struct kv_buf text;
    kv_buf_init(&text, MAX_TEXT);
    int rc = collect(bio, piece, &text, err);
    if (rc == 0) {
        rc = kv_b64_decode(KV_B64_STD, (const char *)text.data, text.len, der);
        if (rc != 0)
            rc = rc == KV_E_INVALID ? malformed(err) : no_room(rc, err);
    }
    kv_buf_free(&text);
    return rc == 0 ? 1 : rc;
}

int kv_pem_read(BIO *bio, struct kv_buf *der, struct kv_err *err)
{
    struct piece piece = {.is_last = true};
    int rc = 0;
    while (next_piece(bio, &piece)) {
        if (!is_begin_line(&piece))
            continue;
        if (strcmp(piece.text, BEGIN_OURS) == 0)
            rc = read_ours(bio, &piece, der, err);
        else
            skip_block(bio, &piece);
        break;
    }
    kv_wipe(&piece, sizeof(piece)); /* may be of a private key of the host */
    return rc;
}
