/*
 * A program that knows nothing of keyvault, under an openssl.cnf that activates it:
 * keys from its own files sign and verify, and TLS works with every group.
 *
 *   bystander keys FILE...   load, sign, verify, compare; no error may be left behind
 *   bystander tls FILE...    handshakes in memory, by key, version and group; prints
 * which provider made the temporary keys
 *
 * FILE is a private key in PEM. Prints what went wrong; exit status 1 then.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int n_failed;

static void expect(bool is_true, const char *what, const char *detail)
{
    if (is_true && ERR_peek_error() == 0)
        return;
    (void)printf("%s: %s\n", detail, is_true ? "left an error behind" : what);
    ERR_print_errors_fp(stdout);
    n_failed++;
}

static EVP_PKEY *load(const char *path)
{
    BIO *in = BIO_new_file(path, "r");
    EVP_PKEY *key = in == NULL ? NULL : PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    BIO_free(in);
    expect(key != NULL, "does not load", path);
    return key;
}

static const EVP_MD *digest_of(EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
}

static void use_key(const char *path)
{
    static const unsigned char text[] = "hello";
    unsigned char sig[1024];
    size_t len = sizeof(sig);
    EVP_PKEY *key = load(path);
    if (key == NULL)
        return;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    expect(EVP_DigestSignInit(ctx, NULL, digest_of(key), NULL, key) == 1 &&
               EVP_DigestSign(ctx, sig, &len, text, sizeof(text)) == 1,
           "does not sign", path);
    EVP_MD_CTX_free(ctx);
    ctx = EVP_MD_CTX_new();
    expect(EVP_DigestVerifyInit(ctx, NULL, digest_of(key), NULL, key) == 1 &&
               EVP_DigestVerify(ctx, sig, len, text, sizeof(text)) == 1,
           "does not verify", path);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY *copy = EVP_PKEY_dup(key);
    expect(copy != NULL && EVP_PKEY_eq(copy, key) == 1, "does not equal its copy",
           path);
    EVP_PKEY_free(copy);
    BIO *out = BIO_new(BIO_s_mem());
    expect(PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1,
           "cannot be written", path);
    BIO_free(out);
    EVP_PKEY_free(key);
}

/* --- TLS --- */

static X509 *make_cert(EVP_PKEY *key)
{
    X509 *cert = X509_new();
    X509_NAME *name = X509_get_subject_name(cert);
    if (X509_set_version(cert, X509_VERSION_3) &&
        X509_gmtime_adj(X509_getm_notBefore(cert), -60) != NULL &&
        X509_gmtime_adj(X509_getm_notAfter(cert), 600) != NULL &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                   (const unsigned char *)"bystander", -1, -1, 0) &&
        X509_set_issuer_name(cert, name) && X509_set_pubkey(cert, key) &&
        X509_sign(cert, key, digest_of(key)) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}

static void connect_in_memory(SSL *server, SSL *client)
{
    BIO *a = NULL;
    BIO *b = NULL;
    (void)BIO_new_bio_pair(&a, 0, &b, 0);
    SSL_set_bio(server, a, a);
    SSL_set_bio(client, b, b);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
}

/* Both sides in turn, until both are through or one has failed. */
static bool shake_hands(SSL *server, SSL *client)
{
    for (int turn = 0; turn < 20; turn++) {
        int at_client = SSL_do_handshake(client);
        int at_server = SSL_do_handshake(server);
        if (at_client == 1 && at_server == 1)
            return true;
        if ((at_client != 1 &&
             SSL_get_error(client, at_client) != SSL_ERROR_WANT_READ) ||
            (at_server != 1 && SSL_get_error(server, at_server) != SSL_ERROR_WANT_READ))
            return false;
    }
    return false;
}

/* The provider of the temporary key that the client got to know. */
static void print_provider(SSL *client, const char *group)
{
    EVP_PKEY *temporary = NULL;
    if (SSL_get_peer_tmp_key(client, &temporary) != 1)
        return;
    (void)printf("%s by %s\n", group,
                 OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(temporary)));
    EVP_PKEY_free(temporary);
}

static void handshake(SSL_CTX *server_ctx, SSL_CTX *client_ctx, int version,
                      const char *group)
{
    char what[64];
    (void)snprintf(what, sizeof(what), "TLS 1.%d with %s", version - TLS1_VERSION,
                   group);
    SSL *server = SSL_new(server_ctx);
    SSL *client = SSL_new(client_ctx);
    expect(SSL_set_min_proto_version(client, version) == 1 &&
               SSL_set_max_proto_version(client, version) == 1 &&
               SSL_set1_groups_list(client, group) == 1,
           "the group cannot be set", what);
    connect_in_memory(server, client);
    expect(shake_hands(server, client), "no handshake", what);
    print_provider(client, group);
    SSL_free(server);
    SSL_free(client);
}

/* What the client offers; TLS 1.2 needs the curve of the certificate among it. */
static const struct {
    const char *tls13;
    const char *tls12;
} offers[] = {
    {"P-256", "P-256:P-384"},
    {"secp384r1", "secp384r1:prime256v1"},
    {"P-521", "secp521r1:P-256:P-384"},
    {"X25519", "X25519:P-256:P-384"},
    {NULL, "brainpoolP256r1:P-256:P-384"},
    {NULL, "secp256k1:P-256:P-384"},
};

static void use_tls(const char *path)
{
    EVP_PKEY *key = load(path);
    X509 *cert = key == NULL ? NULL : make_cert(key);
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());
    SSL_CTX *client = SSL_CTX_new(TLS_client_method());
    bool is_ready =
        cert != NULL && SSL_CTX_use_certificate(server, cert) == 1 &&
        SSL_CTX_use_PrivateKey(server, key) == 1 &&
        SSL_CTX_set1_groups_list(
            server, "prime256v1:P-384:secp521r1:X25519:brainpoolP256r1:secp256k1") == 1;
    expect(is_ready, "the server cannot be set up", path);
    for (size_t i = 0; is_ready && i < sizeof(offers) / sizeof(offers[0]); i++) {
        if (offers[i].tls13 != NULL)
            handshake(server, client, TLS1_3_VERSION, offers[i].tls13);
        handshake(server, client, TLS1_2_VERSION, offers[i].tls12);
    }
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    X509_free(cert);
    EVP_PKEY_free(key);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        (void)fprintf(stderr, "usage: bystander keys|tls FILE...\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[1], "tls") == 0)
            use_tls(argv[i]);
        else
            use_key(argv[i]);
    }
    return n_failed > 0;
}
