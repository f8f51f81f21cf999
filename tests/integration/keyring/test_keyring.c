/*
 * Journeys with the real keyvault-keyring: signing, decrypting, agreeing, and what
 * happens when the service or the keyring dies and comes back.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/core/str.h"
#include "tests/support/journey.h"

TestSuite(keyring, .timeout = 60);

static EVP_PKEY *public_of(struct kv_bytes spki)
{
    const unsigned char *at = spki.data;
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &at, (long)spki.len);
    cr_assert_not_null(pkey);
    return pkey;
}

static bool verifies(EVP_PKEY *pkey, struct kv_bytes signature)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
    cr_assert_eq(EVP_PKEY_verify_init(ctx), 1);
    const int ok =
        EVP_PKEY_verify(ctx, signature.data, signature.len, journey_digest, 32);
    EVP_PKEY_CTX_free(ctx);
    return ok == 1;
}

Test(keyring, signs_so_that_the_public_key_verifies, .init = journey_setup,
     .fini = journey_teardown)
{
    struct kv_msg_key key;
    struct kv_bytes signature;
    cr_assert_eq(journey_open_key("keyvault:web", &key), 0);
    cr_assert_eq(key.ops, (uint32_t)KV_OP_SIGN | KV_OP_DERIVE);
    EVP_PKEY *pkey = public_of(key.spki);
    cr_assert_eq(journey_sign(&signature), 0);
    cr_assert(verifies(pkey, signature));
    const unsigned n_questions = atomic_load(&journey.service.n_questions);
    for (int i = 0; i < 50; i++)
        cr_assert_eq(journey_sign(&signature), 0);
    cr_assert_eq(atomic_load(&journey.service.n_questions), n_questions,
                 "asked only once");
    EVP_PKEY_free(pkey);
}

Test(keyring, agrees_on_a_secret_with_a_peer, .init = journey_setup,
     .fini = journey_teardown)
{
    struct kv_msg_key key;
    struct kv_bytes secret;
    unsigned char *spki = NULL;
    unsigned char ours[64];
    size_t ours_len = sizeof(ours);
    cr_assert_eq(journey_open_key("keyvault:web", &key), 0);
    EVP_PKEY *vault = public_of(key.spki);
    EVP_PKEY *peer = EVP_EC_gen("P-256");
    const int len = i2d_PUBKEY(peer, &spki);
    cr_assert_gt(len, 0);
    struct kv_msg_derive msg = {.peer_spki = {spki, (size_t)len}};
    memset(msg.version, 1, KV_ID_LEN);
    kv_buf_reset(&journey.payload);
    kv_msg_derive_put(&journey.payload, &msg);
    cr_assert_eq(journey_call(KV_VERB_DERIVE, &secret), 0);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(peer, NULL);
    cr_assert_eq(EVP_PKEY_derive_init(ctx), 1);
    cr_assert_eq(EVP_PKEY_derive_set_peer(ctx, vault), 1);
    cr_assert_eq(EVP_PKEY_derive(ctx, ours, &ours_len), 1);
    cr_assert_eq(secret.len, ours_len);
    cr_assert_eq(memcmp(secret.data, ours, ours_len), 0);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(vault);
    OPENSSL_free(spki);
}

Test(keyring, decrypts_and_signs_with_rsa_on_loop_and_pool, .init = journey_setup,
     .fini = journey_teardown)
{
    static const char text[] = "a secret";
    unsigned char sealed[512];
    struct kv_msg_key key;
    struct kv_bytes plain;
    journey_restart_service();
    journey_make_key("rsa", KV_KTY_RSA, KV_CURVE_NONE, KV_OP_SIGN | KV_OP_DECRYPT);
    const struct kv_role_key_new big = {.kty = KV_KTY_RSA,
                                        .bits = 3072,
                                        .attrs = {.ops = KV_OP_SIGN,
                                                  .is_enabled = 1,
                                                  .nbf_s = KV_TIME_NONE,
                                                  .exp_s = KV_TIME_NONE}};
    cr_assert_eq(kv_fake_service_key(&journey.service, "big", &big), 0);
    journey.service.keys[2].ops = KV_OP_SIGN;
    journey.service.keys[2].uid = geteuid();
    kv_fake_service_run(&journey.service);

    cr_assert_eq(journey_open_key("keyvault:keys/rsa", &key), 0);
    EVP_PKEY *pkey = public_of(key.spki);
    size_t len = sizeof(sealed);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
    cr_assert_eq(EVP_PKEY_encrypt_init(ctx), 1);
    cr_assert_eq(EVP_PKEY_CTX_ctrl_str(ctx, "rsa_padding_mode", "oaep"), 1);
    cr_assert_eq(EVP_PKEY_CTX_ctrl_str(ctx, "rsa_oaep_md", "sha256"), 1);
    cr_assert_eq(
        EVP_PKEY_encrypt(ctx, sealed, &len, (const unsigned char *)text, sizeof(text)),
        1);
    EVP_PKEY_CTX_free(ctx);
    struct kv_msg_decrypt msg = {.enc = KV_ENC_OAEP,
                                 .md = KV_MD_SHA256,
                                 .mgf1_md = KV_MD_SHA256,
                                 .input = {sealed, len}};
    memset(msg.version, 2, KV_ID_LEN);
    kv_buf_reset(&journey.payload);
    kv_msg_decrypt_put(&journey.payload, &msg);
    cr_assert_eq(journey_call(KV_VERB_DECRYPT, &plain), 0);
    cr_assert_eq(plain.len, sizeof(text));
    cr_assert_eq(memcmp(plain.data, text, sizeof(text)), 0);
    sealed[7] ^= 1;
    kv_buf_reset(&journey.payload);
    kv_msg_decrypt_put(&journey.payload, &msg);
    cr_assert_eq(journey_call(KV_VERB_DECRYPT, &plain), KV_E_CRYPTO);
    msg.enc = KV_ENC_TLS;
    msg.md = KV_MD_NONE;
    msg.mgf1_md = KV_MD_NONE;
    msg.tls_client_version = 0x0303;
    kv_buf_reset(&journey.payload);
    kv_msg_decrypt_put(&journey.payload, &msg);
    cr_assert_eq(journey_call(KV_VERB_DECRYPT, &plain), 0, "bad padding is not told");
    cr_assert_eq(plain.len, 48);

    journey_put_sign(3, KV_SIG_PKCS1);
    cr_assert_eq(journey_call(KV_VERB_SIGN, &plain), 0,
                 "asked by version, signed by the pool");
    cr_assert_eq(plain.len, 384);
    journey_put_sign(2, KV_SIG_PKCS1);
    cr_assert_eq(journey_call(KV_VERB_SIGN, &plain), 0);
    cr_assert_eq(plain.len, 256);
    EVP_PKEY_free(pkey);
}

Test(keyring, answers_info_certificates_and_lists, .init = journey_setup,
     .fini = journey_teardown)
{
    struct kv_bytes reply;
    struct kv_msg_key key;
    static struct kv_msg_certs certs;
    static struct kv_msg_list_reply list;
    struct kv_msg_uri uri = {.uri = "keyvault:web"};
    kv_msg_uri_put(&journey.payload, &uri);
    cr_assert_eq(journey_call(KV_VERB_INFO, &reply), 0);
    cr_assert_eq(kv_msg_key_get(reply, &key), 0);
    cr_assert_str_eq(key.uri, journey.service.keys[0].uri);
    cr_assert_eq(journey_call(KV_VERB_CERT, &reply), 0);
    cr_assert_eq(kv_msg_certs_get(reply, &certs), 0);
    cr_assert_eq(certs.n, 1);
    const struct kv_msg_list question = {.collection = KV_URI_KEYS};
    kv_buf_reset(&journey.payload);
    kv_msg_list_put(&journey.payload, &question);
    cr_assert_eq(journey_call(KV_VERB_LIST, &reply), 0);
    cr_assert_eq(kv_msg_list_reply_get(reply, &list), 0);
    cr_assert_eq(list.n, 1);
    cr_assert_str_eq(list.entry[0].uri, "keyvault:web");
}

Test(keyring, chain_that_fits_no_frame_is_refused_with_its_id, .init = journey_setup,
     .fini = journey_teardown)
{
    struct kv_bytes reply;
    static struct kv_msg_certs certs;
    const struct kv_msg_uri uri = {.uri = "keyvault:certificates/web"};
    kv_msg_uri_put(&journey.payload, &uri);
    atomic_store(&journey.service.n_big_certs, KV_CHAIN_MAX);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(journey_call(KV_VERB_CERT, &reply), KV_E_TOO_BIG);
        cr_assert_str_eq(journey.client.error.id, "channel.reply-too-big");
    }
    atomic_store(&journey.service.n_big_certs, 3);
    cr_assert_eq(journey_call(KV_VERB_CERT, &reply), 0, "the connection lives");
    cr_assert_eq(kv_msg_certs_get(reply, &certs), 0);
    cr_assert_eq(certs.n, 3);
}

/* A grant that is over as soon as it is given would be asked for again and again. */
Test(keyring, grant_without_a_lease_ends_in_a_refusal, .init = journey_setup,
     .fini = journey_teardown)
{
    struct kv_bytes reply;
    atomic_store(&journey.service.lease_ms, 0);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(journey_sign(&reply), KV_E_BUSY);
        cr_assert_str_eq(journey.client.error.id, "channel.busy");
    }
    atomic_store(&journey.service.lease_ms, KV_LEASE_MS);
    cr_assert_eq(journey_sign(&reply), 0);
}

Test(keyring, refuses_in_the_words_of_the_service, .init = journey_setup,
     .fini = journey_teardown)
{
    struct kv_msg_key key;
    struct kv_bytes reply;
    cr_assert_eq(journey_open_key("keyvault:nothing", &key), KV_E_NOT_FOUND);
    cr_assert_str_eq(journey.client.error.id, "fake.not-found");
    journey.service.keys[0].ops = 0;
    cr_assert_eq(journey_open_key("keyvault:web", &key), KV_E_DENIED);
    cr_assert_eq(journey_sign(&reply), KV_E_DENIED);
    cr_assert_eq(journey_open_key("keyvault:a/b/c", &key), KV_E_INVALID);
    cr_assert_eq(journey_open_key("keyvault:web", &key), KV_E_DENIED,
                 "the connection lives");
}

Test(keyring, grants_live_on_without_the_service_and_no_new_ones_come,
     .init = journey_setup, .fini = journey_teardown)
{
    struct kv_bytes reply;
    struct kv_msg_key key;
    cr_assert_eq(journey_sign(&reply), 0);
    kv_fake_service_hang_up(&journey.service);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(journey_sign(&reply), 0);
        (void)usleep(50000);
    }
    cr_assert_eq(journey_open_key("keyvault:web", &key), KV_E_UNAVAILABLE);
    cr_assert_str_eq(journey.client.error.id, "channel.no-service");
    cr_assert_eq(kv_fake_service_open(&journey.service, journey.role_path), 0);
    kv_fake_service_run(&journey.service);
    cr_assert_eq(journey_open_key("keyvault:web", &key), 0);
}

Test(keyring, question_survives_a_restart_of_the_service, .init = journey_setup,
     .fini = journey_teardown)
{
    struct kv_frame frame;
    atomic_store(&journey.service.is_silent, true);
    journey_put_sign(1, KV_SIG_ECDSA);
    (void)kv_channel_client_request(&journey.client, KV_VERB_SIGN, &journey.payload);
    (void)usleep(300000);
    atomic_store(&journey.service.is_silent, false);
    journey_restart_service();
    kv_fake_service_run(&journey.service);
    cr_assert_eq(kv_channel_client_read(&journey.client, &frame, 5000), 0);
    cr_assert_eq(frame.status, 0);
}

Test(keyring, policy_change_ends_a_grant_within_a_second, .init = journey_setup,
     .fini = journey_teardown)
{
    struct kv_bytes reply;
    cr_assert_eq(journey_sign(&reply), 0);
    journey.service.keys[0].ops = 0;
    atomic_fetch_add(&journey.service.epoch, 1);
    int rc = 0;
    for (int i = 0; i < 20 && rc == 0; i++) {
        (void)usleep(50000);
        rc = journey_sign(&reply);
    }
    cr_assert_eq(rc, KV_E_DENIED);
}

Test(keyring, killed_and_started_again_it_serves_the_same_keys, .init = journey_setup,
     .fini = journey_teardown)
{
    struct kv_bytes reply;
    struct kv_msg_key key;
    struct kv_msg_key again;
    uint8_t spki[KV_SPKI_MAX];
    cr_assert_eq(journey_open_key("keyvault:web", &key), 0);
    const size_t spki_len = key.spki.len;
    memcpy(spki, key.spki.data, spki_len);
    cr_assert_eq(journey_stop(SIGKILL), -SIGKILL);
    cr_assert_eq(journey_sign(&reply), KV_E_UNAVAILABLE);
    kv_channel_client_close(&journey.client);
    kv_fake_service_hang_up(&journey.service);
    cr_assert_eq(journey_start(), 0, "a socket left behind does not matter");
    cr_assert_eq(kv_fake_service_open(&journey.service, journey.role_path), 0);
    kv_fake_service_run(&journey.service);
    journey_connect_client();
    cr_assert_eq(journey_sign(&reply), 0, "nothing was opened again");
    cr_assert_eq(journey_open_key("keyvault:web", &again), 0);
    cr_assert_eq(again.spki.len, spki_len);
    cr_assert_eq(memcmp(again.spki.data, spki, spki_len), 0);
}

Test(keyring, newest_connection_of_the_service_wins, .init = journey_setup,
     .fini = journey_teardown)
{
    struct kv_fake_service second;
    struct kv_frame frame;
    memset(&second, 0, sizeof(second));
    kv_fake_service_hang_up(&journey.service);
    cr_assert_eq(kv_fake_service_open(&journey.service, journey.role_path), 0);
    cr_assert_eq(kv_channel_client_open(&second.client, journey.role_path), 0);
    cr_assert_eq(kv_channel_client_read(&journey.service.client, &frame, 5000),
                 KV_E_UNAVAILABLE);
    kv_channel_client_close(&second.client);
}

Test(keyring, installation_is_made_once_with_safe_modes, .init = journey_setup,
     .fini = journey_teardown)
{
    static const struct {
        const char *name;
        mode_t mode;
    } files[] = {{"keyring", 0700},       {"keyring/keyfile", 0400},
                 {"keyring/slots", 0600}, {"recovery.key", 0600},
                 {"run/keys.sock", 0666}, {"run/private", 0700}};
    char path[128];
    struct stat st;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        journey_sub(path, sizeof(path), files[i].name);
        cr_assert_eq(stat(path, &st), 0, "%s", files[i].name);
        cr_assert_eq(st.st_mode & 07777, files[i].mode, "%s", files[i].name);
    }
    cr_assert_eq(journey_stop(SIGTERM), 0);
    journey_sub(path, sizeof(path), "recovery.key");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(journey_start(), 0);
    cr_assert_neq(stat(path, &st), 0, "the recovery key is told once");
}

Test(keyring, directory_has_one_keyring, .init = journey_setup,
     .fini = journey_teardown)
{
    struct kv_bytes reply;
    const pid_t first = journey.daemon_pid;
    cr_assert_eq(journey_start(), 3);
    journey.daemon_pid = first;
    cr_assert(journey_log_has("boot.running"));
    cr_assert_eq(journey_sign(&reply), 0, "the first one still serves");
}

Test(keyring, private_directory_of_others_is_not_used, .init = journey_setup_dir,
     .fini = journey_teardown)
{
    char path[128];
    char other[128];
    journey_sub(path, sizeof(path), "run/private");
    journey_sub(other, sizeof(other), "run/other");
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(chmod(path, 0777), 0);
    cr_assert_eq(journey_start(), 1);
    cr_assert(journey_log_has("boot.unsafe-directory"));
    cr_assert_eq(rename(path, other), 0);
    cr_assert_eq(chmod(other, 0700), 0);
    cr_assert_eq(symlink("other", path), 0);
    cr_assert_eq(journey_start(), 1);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(journey_start(), 0);
}

Test(keyring, damaged_installation_is_told_and_nothing_starts,
     .init = journey_setup_dir, .fini = journey_teardown)
{
    char path[128];
    cr_assert_eq(journey_start(), 0);
    cr_assert_eq(journey_stop(SIGTERM), 0);
    journey_sub(path, sizeof(path), "keyring/keyfile");
    cr_assert_eq(chmod(path, 0600), 0);
    cr_assert_eq(journey_start(), 3);
    cr_assert(journey_log_has("keyfile.wrong-mode"));
    const int fd = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, "\x55\xaa\x55", 3, 4), 3);
    close(fd);
    cr_assert_eq(chmod(path, 0400), 0);
    cr_assert_eq(journey_start(), 3);
    cr_assert(journey_log_has("slot.wrong-secret"));
    journey_sub(path, sizeof(path), "keyring/slots");
    cr_assert_eq(truncate(path, 100), 0);
    journey_sub(path, sizeof(path), "keyring/keyfile");
    cr_assert_eq(journey_start(), 3);
    cr_assert(journey_log_has("slot.damaged"));
}

/* libc sorts large sets with a look at the memory of the machine: a file with many
 * attributes must not end the process. */
Test(keyring, keys_with_many_attributes_are_imported, .init = journey_setup,
     .fini = journey_teardown)
{
    struct kv_bytes reply;
    unsigned char *der = NULL;
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(pkey);
    for (unsigned i = 0; i < 200; i++) {
        char oid[24];
        (void)snprintf(oid, sizeof(oid), "1.3.6.1.4.1.%u", 100000 + i);
        ASN1_OBJECT *type = OBJ_txt2obj(oid, 1);
        cr_assert_eq(PKCS8_pkey_add1_attr_by_OBJ(info, type, V_ASN1_UTF8STRING,
                                                 (const unsigned char *)oid, 4),
                     1);
        ASN1_OBJECT_free(type);
    }
    const int len = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
    cr_assert_gt(len, 1024);
    journey_restart_service();
    const struct kv_role_key_new request = {.import = KV_IMPORT_DER,
                                            .attrs = {.ops = KV_OP_SIGN,
                                                      .is_enabled = 1,
                                                      .nbf_s = KV_TIME_NONE,
                                                      .exp_s = KV_TIME_NONE},
                                            .material = {der, (size_t)len}};
    cr_assert_eq(kv_fake_service_key(&journey.service, "many", &request), 0);
    kv_fake_service_run(&journey.service);
    cr_assert_eq(journey_sign(&reply), 0, "the keyring lives");
    OPENSSL_free(der);
    PKCS8_PRIV_KEY_INFO_free(info);
    EVP_PKEY_free(pkey);
}

Test(keyring, gives_up_what_it_does_not_need, .init = journey_setup,
     .fini = journey_teardown)
{
    char path[64];
    char line[256];
    bool has_filter = false;
    bool has_no_new_privs = false;
    (void)snprintf(path, sizeof(path), "/proc/%d/status", journey.daemon_pid);
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        has_filter |= strcmp(line, "Seccomp:\t2\n") == 0;
        has_no_new_privs |= strcmp(line, "NoNewPrivs:\t1\n") == 0;
    }
    (void)fclose(file);
    cr_assert(has_filter && has_no_new_privs);
}
