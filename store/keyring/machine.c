/*
 * What gives a hypervisor away. Files that are missing say nothing: containers hide
 * some of them.
 */
#include "store/keyring/machine.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Their mere existence says it. */
static const char *const kernel_files[] = {
    "/sys/hypervisor/type",
    "/proc/device-tree/hypervisor",
    "/proc/xen/capabilities",
};

static const char *const dmi_files[] = {
    "/sys/class/dmi/id/sys_vendor",      "/sys/class/dmi/id/product_name",
    "/sys/class/dmi/id/board_vendor",    "/sys/class/dmi/id/bios_vendor",
    "/sys/class/dmi/id/product_version",
};

static const char *const dmi_names[] = {
    "KVM",
    "QEMU",
    "OpenStack",
    "KubeVirt",
    "Amazon EC2",
    "VMware",
    "VMW",
    "VirtualBox",
    "innotek GmbH",
    "Oracle Corporation",
    "Xen",
    "Bochs",
    "Parallels",
    "BHYVE",
    "Hyper-V",
    "Virtual Machine",
    "Google Compute Engine",
    "Apple Virtualization",
    "Alibaba Cloud",
};

int kv_machine_cpuid(void)
{
#if defined(__x86_64__) || defined(__i386__)
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0)
        return -1;
    return (int)(ecx >> 31);
#else
    return -1;
#endif
}

/* The beginning of a small file as text; false when there is none. */
static bool read_file(const char *root, const char *name, char *text, size_t size)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s%s", root, name) >= (int)sizeof(path))
        return false;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    const ssize_t n = read(fd, text, size - 1); /* a directory: it exists, no text */
    text[n > 0 ? n : 0] = '\0';
    close(fd);
    return true;
}

enum kv_machine kv_machine_judge(int cpuid, const char *root, const char **why)
{
    char text[256];
    *why = "the processor reports a hypervisor";
    if (cpuid == 1)
        return KV_MACHINE_VIRTUAL;
    *why = "the kernel reports a hypervisor";
    for (size_t i = 0; i < N_OF(kernel_files); i++) {
        if (read_file(root, kernel_files[i], text, sizeof(text)))
            return KV_MACHINE_VIRTUAL;
    }
    *why = "the machine's maker is a hypervisor";
    for (size_t i = 0; i < N_OF(dmi_files); i++) {
        const bool is_there = read_file(root, dmi_files[i], text, sizeof(text));
        for (size_t j = 0; is_there && j < N_OF(dmi_names); j++) {
            if (strstr(text, dmi_names[j]) != NULL)
                return KV_MACHINE_VIRTUAL;
        }
    }
    *why = "nothing tells whether the machine is virtual";
    if (cpuid < 0)
        return KV_MACHINE_UNKNOWN;
    *why = "the machine is not virtual";
    return KV_MACHINE_PHYSICAL;
}
