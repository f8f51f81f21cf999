/*
 * The machine: a clock that is wrong makes certificates expired or not yet valid, a
 * full disk ends everything that must be stored.
 */
#include <stdlib.h>
#include <sys/timex.h>
#include <time.h>

#include "lifecycle/cli/doctor.h"
#include "store/core/clock.h"

#define CLOCK_FIRST_S 1767225600 /* 2026-01-01: nothing runs this before */
#define CLOCK_APART_S 60
#define SPACE_LOW ((json_int_t)256 << 20)
#define SPACE_NONE ((json_int_t)32 << 20)

static bool is_synchronised(void)
{
    struct timex state = {.modes = 0};
    return ntp_adjtime(&state) != TIME_ERROR;
}

static void check_clock(struct kv_doctor *doctor)
{
    static const char cure[] = "timedatectl set-ntp true";
    char text[KV_TIME_TEXT_MAX];
    const int64_t now_s = kv_now_s(kv_clock_system());
    const json_t *other = json_object_get(doctor->service, "time");
    const int64_t apart_s =
        json_is_integer(other) ? llabs(json_integer_value(other) - now_s) : 0;
    kv_time_format(now_s, text);
    if (now_s < CLOCK_FIRST_S)
        kv_doctor_say(doctor, KV_FINDING_FAIL, "clock", cure, "%s lies in the past",
                      text);
    else if (apart_s > CLOCK_APART_S)
        kv_doctor_say(doctor, KV_FINDING_FAIL, "clock", cure,
                      "%s is %lld s apart from the clock of the service", text,
                      (long long)apart_s);
    else if (!is_synchronised())
        kv_doctor_say(doctor, KV_FINDING_WARN, "clock", cure,
                      "%s, but the kernel says that nothing keeps the clock right",
                      text);
    else
        kv_doctor_say(doctor, KV_FINDING_OK, "clock", NULL, "%s", text);
}

static void check_space(struct kv_doctor *doctor)
{
    const json_t *store = json_object_get(doctor->service, "store");
    const char *path = json_string_value(json_object_get(store, "path"));
    if (path == NULL)
        return; /* not an administrator, or an older service */
    const json_int_t space = json_integer_value(json_object_get(store, "freeBytes"));
    char cure[KV_CURE_MAX];
    (void)snprintf(cure, sizeof(cure), "free space on the file system of %s", path);
    const bool is_low = space < SPACE_LOW;
    kv_doctor_say(doctor,
                  space < SPACE_NONE ? KV_FINDING_FAIL
                  : is_low           ? KV_FINDING_WARN
                                     : KV_FINDING_OK,
                  "disk", is_low ? cure : NULL, "%lld MiB are free in %s",
                  (long long)(space >> 20), path);
}

void kv_doctor_host_check(struct kv_doctor *doctor)
{
    check_clock(doctor);
    check_space(doctor);
}
