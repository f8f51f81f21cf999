/* lifecycle/supervisor/dev_files.c: quoting for OpenSSL and for the shell. */
#include <criterion/criterion.h>
#include <openssl/conf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lifecycle/supervisor/dev_files.h"

TestSuite(dev_files, .timeout = 20);

/* Everything that means something to OpenSSL or the shell. */
static const char odd_dir[] = "/tmp/a b'c\"d$HOME`id`\\e#f;g=h{i}\xc3\xa4";

static struct kv_dev_facts facts_of(const char *dir)
{
    struct kv_dev_facts facts = {.program_dir = "/opt/it's here",
                                 .module = "/lib/$x/keyvault.so",
                                 .server_uid = 1234,
                                 .installation = {0xab, 0x01},
                                 .port = 8443,
                                 .token = "t0k.en-_",
                                 .tenant = "ab010000-0000-0000-0000-000000000000"};
    (void)snprintf(facts.dir, sizeof(facts.dir), "%s", dir);
    return facts;
}

Test(dev_files, openssl_reads_back_what_was_written)
{
    struct kv_dev_facts facts = facts_of(odd_dir);
    struct kv_buf text;
    kv_buf_init(&text, 65536);
    cr_assert_eq(kv_dev_openssl_cnf(&facts, &text), 0);
    CONF *conf = NCONF_new(NULL);
    BIO *bio = BIO_new_mem_buf(text.data, (int)text.len);
    long line = 0;
    cr_assert_eq(NCONF_load_bio(conf, bio, &line), 1, "line %ld", line);
    char expected[256];
    (void)snprintf(expected, sizeof(expected), "%s/keys.sock", odd_dir);
    cr_expect_str_eq(NCONF_get_string(conf, "keyvault_sect", "socket"), expected);
    cr_expect_str_eq(NCONF_get_string(conf, "keyvault_sect", "module"), facts.module);
    cr_expect_str_eq(NCONF_get_string(conf, "keyvault_sect", "server-uid"), "1234");
    cr_expect_str_eq(NCONF_get_string(conf, "keyvault_sect", "abstract-socket"),
                     "@keyvault/ab010000000000000000000000000000/keys");
    cr_expect_str_eq(NCONF_get_string(conf, NULL, "openssl_conf"), "openssl_init");
    cr_expect_str_eq(NCONF_get_string(conf, NULL, "nodejs_conf"), "openssl_init");
    STACK_OF(CONF_VALUE) *providers = NCONF_get_section(conf, "provider_sect");
    cr_assert_eq(sk_CONF_VALUE_num(providers), 2);
    cr_expect_str_eq(sk_CONF_VALUE_value(providers, 0)->name, "default");
    cr_expect_str_eq(sk_CONF_VALUE_value(providers, 1)->name, "keyvault");
    BIO_free(bio);
    NCONF_free(conf);
    kv_buf_free(&text);
}

Test(dev_files, the_shell_reads_back_what_was_written)
{
    struct kv_dev_facts facts = facts_of(odd_dir);
    char path[] = "/tmp/keyvault-env.XXXXXX";
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf text;
    kv_buf_init_secret(&text, 65536);
    (void)close(mkstemp(path));
    cr_assert_eq(kv_dev_env(&facts, &text), 0);
    cr_assert_eq(kv_file_write(path, 0600, text.data, text.len, &err), 0);
    char command[256];
    (void)snprintf(command, sizeof(command),
                   "sh -eu -c '. %s; printf \"%%s\\n%%s\\n%%s\\n%%s\\n%%s\\n\" "
                   "\"$KEYVAULT_API\" \"$OPENSSL_CONF\" \"$KEYVAULT_URL\" "
                   "\"$KEYVAULT_TOKEN\" \"${PATH%%%%:*}\"'",
                   path);
    FILE *out = popen(command, "r");
    cr_assert_not_null(out);
    char expected[5][256];
    (void)snprintf(expected[0], 256, "unix:%s/api.sock\n", odd_dir);
    (void)snprintf(expected[1], 256, "%s/openssl.cnf\n", odd_dir);
    (void)snprintf(expected[2], 256, "https://default.vault.localhost:8443\n");
    (void)snprintf(expected[3], 256, "t0k.en-_\n");
    (void)snprintf(expected[4], 256, "/opt/it's here\n");
    for (size_t i = 0; i < 5; i++) {
        char line[256] = "";
        cr_expect_not_null(fgets(line, sizeof(line), out));
        cr_expect_str_eq(line, expected[i]);
    }
    cr_expect_eq(pclose(out), 0);
    (void)unlink(path);
    kv_buf_free(&text);
}

Test(dev_files, write_replaces_whole_files_with_the_mode_asked_for)
{
    char path[] = "/tmp/keyvault-file.XXXXXX";
    char line[16];
    struct kv_err err = KV_ERR_INIT;
    struct stat info;
    (void)close(mkstemp(path));
    cr_assert_eq(kv_file_write(path, 0644, "abc\n", 4, &err), 0);
    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq(info.st_mode & 07777, 0644);
    cr_assert_eq(kv_file_read_line(path, line, sizeof(line), &err), 0);
    cr_assert_str_eq(line, "abc");
    cr_assert_eq(kv_file_read_line(path, line, 4, &err), KV_E_TOO_BIG);
    (void)unlink(path);
    err = KV_ERR_INIT;
    cr_assert_eq(kv_file_read_line(path, line, sizeof(line), &err), KV_E_IO);
    err = KV_ERR_INIT;
    cr_assert_eq(kv_file_write("/nowhere/file", 0600, "", 0, &err), KV_E_IO);
    cr_assert_str_eq(err.id, "file.not-written");
}
