/*
 * Whether this is a machine of its own, or the guest of a hypervisor, whose memory
 * somebody may copy and run a second time (keyvault.conf(5), prepared-nonces).
 *
 * Looked at once, before the sandbox closes: the processor's hypervisor bit (x86), what
 * the kernel says of a hypervisor, the maker's names in DMI. One sign makes it virtual;
 * a hypervisor that hides all of them is not found.
 */
#ifndef KV_STORE_KEYRING_MACHINE_H
#define KV_STORE_KEYRING_MACHINE_H

enum kv_machine {
    KV_MACHINE_UNKNOWN, /* no sign, and a processor that could not give one */
    KV_MACHINE_PHYSICAL,
    KV_MACHINE_VIRTUAL,
};

/* The processor's word: 1 a hypervisor is there, 0 there is none, -1 it cannot say. */
int kv_machine_cpuid(void);

/* Judge by that word and the files below `root` ("" for the machine's own). `why` is
 * set to a constant sentence. */
enum kv_machine kv_machine_judge(int cpuid, const char *root, const char **why);

#endif
