/*
 * Signs of a hypervisor, in directories that stand for machines.
 */
#include "store/keyring/machine.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(machine, .timeout = 20);

#define DMI "/sys/class/dmi/id/"

static const struct row {
    const char *what;
    int cpuid;
    const char *file; /* NULL: none */
    const char *text;
    enum kv_machine expected;
} rows[] = {
    {"hypervisor bit", 1, NULL, NULL, KV_MACHINE_VIRTUAL},
    {"hypervisor bit and a real maker", 1, DMI "sys_vendor", "Dell Inc.\n",
     KV_MACHINE_VIRTUAL},
    {"x86 of its own", 0, NULL, NULL, KV_MACHINE_PHYSICAL},
    {"x86 with a real maker", 0, DMI "sys_vendor", "Dell Inc.\n", KV_MACHINE_PHYSICAL},
    {"bit hidden, QEMU in DMI", 0, DMI "sys_vendor", "QEMU\n", KV_MACHINE_VIRTUAL},
    {"bit hidden, KVM as product", 0, DMI "product_name", "KVM Virtual Machine\n",
     KV_MACHINE_VIRTUAL},
    {"Google's", 0, DMI "product_name", "Google Compute Engine\n", KV_MACHINE_VIRTUAL},
    {"Xen", 0, "/sys/hypervisor/type", "xen\n", KV_MACHINE_VIRTUAL},
    {"ARM that knows nothing", -1, NULL, NULL, KV_MACHINE_UNKNOWN},
    {"ARM with a real maker", -1, DMI "sys_vendor", "Ampere\n", KV_MACHINE_UNKNOWN},
    {"ARM guest", -1, DMI "sys_vendor", "Amazon EC2\n", KV_MACHINE_VIRTUAL},
    {"ARM guest with a device tree", -1, "/proc/device-tree/hypervisor", "",
     KV_MACHINE_VIRTUAL},
    {"empty DMI", 0, DMI "sys_vendor", "", KV_MACHINE_PHYSICAL},
};

static void put(const char *root, const char *file, const char *text)
{
    char path[512];
    (void)snprintf(path, sizeof(path), "%s%s", root, file);
    for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(path, 0700); /* the last one may be there */
        *at = '/';
    }
    FILE *out = fopen(path, "w");
    cr_assert_not_null(out);
    cr_assert_geq(fputs(text, out), 0);
    cr_assert_eq(fclose(out), 0);
}

Test(machine, signs_are_read)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char root[] = "/tmp/kv-machine-XXXXXX";
        char command[64];
        const char *why = NULL;
        cr_assert_not_null(mkdtemp(root));
        if (rows[i].file != NULL)
            put(root, rows[i].file, rows[i].text);
        const enum kv_machine got = kv_machine_judge(rows[i].cpuid, root, &why);
        cr_expect_eq(got, rows[i].expected, "%s: %s", rows[i].what, why);
        cr_expect_gt(strlen(why), 10);
        (void)snprintf(command, sizeof(command), "rm -rf %s", root);
        cr_assert_eq(system(command), 0);
    }
}

/* The kernel knows the same bit. */
Test(machine, the_processor_says_what_the_kernel_saw)
{
    char line[8192];
    bool is_seen = false;
    FILE *info = fopen("/proc/cpuinfo", "r");
    cr_assert_not_null(info);
    while (fgets(line, sizeof(line), info) != NULL)
        is_seen |=
            strncmp(line, "flags", 5) == 0 && strstr(line, " hypervisor") != NULL;
    (void)fclose(info);
    const int cpuid = kv_machine_cpuid();
    if (cpuid >= 0)
        cr_expect_eq(cpuid == 1, is_seen);
    else
        cr_expect_not(is_seen);
}
