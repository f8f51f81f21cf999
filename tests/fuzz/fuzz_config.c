/*
 * keyvault.conf: what is refused names the file and says why; what is accepted keeps
 * the promises of config.h; and no input spoils the parse that follows it.
 */
#include "lifecycle/supervisor/config.h"

#include <string.h>

#include "store/core/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_accepted(const struct kv_config *config)
{
    KV_ASSERT(config->listen[0] == '\0' || kv_config_listen_is_valid(config->listen));
    KV_ASSERT(config->keyring_user[0] != '\0' && config->service_user[0] != '\0');
    KV_ASSERT(config->log_level >= KV_LOG_ERROR && config->log_level <= KV_LOG_DEBUG);
    KV_ASSERT(config->prepared_nonces[0] == 'a' || config->prepared_nonces[0] == 'o');
    KV_ASSERT(strpbrk(config->domain, " /:@\n") == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char good[] = "api { domain = \"a.b\" }";
    struct kv_config config;
    struct kv_err err = KV_ERR_INIT;
    int rc = kv_config_parse((const char *)data, len, "FILE", &config, &err);
    if (rc == 0) {
        KV_ASSERT(err.code == 0);
        check_accepted(&config);
    } else {
        KV_ASSERT(rc == KV_E_INVALID || rc == KV_E_TOO_BIG);
        KV_ASSERT(kv_str_has_prefix(err.id, "config."));
        KV_ASSERT(kv_str_has_prefix(err.message, "FILE"));
    }
    rc = kv_config_parse(good, strlen(good), "FILE", &config, NULL);
    KV_ASSERT(rc == 0 && strcmp(config.domain, "a.b") == 0);
    return 0;
}
