#include "lifecycle/auth/uuid.h"

#include <stdio.h>
#include <string.h>

#include "store/core/str.h"

void kv_uuid_format(const uint8_t id[16], char out[37])
{
    char hex[33];
    kv_hex_encode(hex, id, 16);
    (void)snprintf(out, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
                   hex + 16, hex + 20);
}

bool kv_uuid_is_valid(const char *text)
{
    static const char pattern[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    if (strlen(text) != sizeof(pattern) - 1)
        return false;
    for (size_t i = 0; text[i] != '\0'; i++)
        if ((pattern[i] == '-') != (text[i] == '-') ||
            (text[i] != '-' && strchr("0123456789abcdefABCDEF", text[i]) == NULL))
            return false;
    return true;
}
