#include "lifecycle/auth/uuid.h"

#include <criterion/criterion.h>

Test(uuid, what_is_written_is_valid)
{
    static const uint8_t id[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                                   0xff, 0,    1,    2,    3,    4,    5,    6};
    char text[37];
    kv_uuid_format(id, text);
    cr_expect_str_eq(text, "01234567-89ab-cdef-ff00-010203040506");
    cr_expect(kv_uuid_is_valid(text));
    cr_expect(kv_uuid_is_valid("01234567-89AB-CDEF-FF00-010203040506"));
}

Test(uuid, other_texts_are_none)
{
    static const char *const bad[] = {"",
                                      "0",
                                      "0123456789abcdefff00010203040506",
                                      "01234567-89ab-cdef-ff00-01020304050",
                                      "01234567-89ab-cdef-ff00-0102030405060",
                                      "01234567-89ab-cdef-ff00-01020304050g",
                                      "01234567889ab-cdef-ff00-010203040506",
                                      "01234567-89ab-cdef-ff00--10203040506",
                                      "{1234567-89ab-cdef-ff00-010203040506"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect_not(kv_uuid_is_valid(bad[i]), "'%s'", bad[i]);
}
