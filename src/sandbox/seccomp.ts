/**
 * A filter of system calls for everything in a jail, as bubblewrap's `--seccomp` reads it: what namespaces do not
 * separate (sockets to the hypervisor, kernel keyrings), what leads into rarely tried parts of the kernel, and what
 * would make further namespaces. Compilers and QEMU need none of it.
 *
 * `undefined` on processors other than x86-64, whose system calls have other numbers.
 */
export function systemCallFilter(arch: string = process.arch): Buffer | undefined {
  if (arch !== 'x64') return undefined;
  return Buffer.concat(
    [
      load(ARCH),
      ...unless(JEQ, AUDIT_ARCH_X86_64, deny(ENOSYS)),
      load(NUMBER),
      ...when(JGE, X32, deny(ENOSYS)),
      ...MISSING.flatMap((call) => when(JEQ, call, deny(ENOSYS))),
      ...FORBIDDEN.flatMap((call) => when(JEQ, call, deny(EPERM))),
      ...argumentRule(SOCKET, 0, [...FAMILIES.flatMap((f) => when(JEQ, f, ALLOW)), deny(EAFNOSUPPORT)]),
      ...argumentRule(CLONE, 0, [...when(JSET, NAMESPACES, deny(EPERM)), ALLOW]),
      ...argumentRule(IOCTL, 1, [...TERMINAL_INPUT.flatMap((r) => when(JEQ, r, deny(EPERM))), ALLOW]),
      ALLOW,
    ].map(encode),
  );
}

/** One instruction of classic BPF: linux/filter.h `struct sock_filter`. */
interface Instruction {
  readonly code: number;
  /** Instructions skipped when the comparison holds, and when it does not. */
  readonly skip?: readonly [number, number];
  readonly k: number;
}

const [LD, JEQ, JGE, JSET, RET] = [0x20, 0x15, 0x35, 0x45, 0x06];

/** Offsets in linux/seccomp.h `struct seccomp_data`; of an argument, its lower half is looked at. */
const NUMBER = 0;
const ARCH = 4;
const ARGUMENTS = 16;

const AUDIT_ARCH_X86_64 = 0xc000003e;
/** Calls of the x32 ABI have this bit. */
const X32 = 0x4000_0000;

const [EPERM, ENOSYS, EAFNOSUPPORT] = [1, 38, 97];
const ALLOW: Instruction = { code: RET, k: 0x7fff_0000 };

/** Programs do without these when the kernel does not know them; the arguments of clone3 cannot be looked at. */
const MISSING = [
  ...[435], // clone3
  ...[425, 426, 427], // io_uring
  ...[323, 298, 321], // userfaultfd, perf_event_open, bpf
  ...[424, 438], // pidfd_send_signal, pidfd_getfd
];

/** By their numbers on x86-64. */
const FORBIDDEN = [
  ...[248, 249, 250], // add_key, request_key, keyctl: the session's keys are inherited
  ...[101, 310, 311, 312], // ptrace, process_vm_readv, process_vm_writev, kcmp
  ...[165, 166, 155, 161, 272, 308], // mount, umount2, pivot_root, chroot, unshare, setns
  ...[428, 429, 430, 431, 432, 433, 442], // open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr
  ...[303, 304, 300, 301], // name_to_handle_at, open_by_handle_at, fanotify_init, fanotify_mark
  ...[175, 313, 176, 246, 320, 169], // init_module, finit_module, delete_module, kexec_load, kexec_file_load, reboot
  ...[167, 168, 163, 179, 443], // swapon, swapoff, acct, quotactl, quotactl_fd
  ...[172, 173, 154], // iopl, ioperm, modify_ldt
  ...[159, 164, 227, 305, 170, 171], // adjtimex, settimeofday, clock_settime, clock_adjtime, set{host,domain}name
  ...[103, 153, 134, 212], // syslog, vhangup, uselib, lookup_dcookie
  ...[29, 30, 68], // shmget, shmat, msgget: memory that belongs to no process
];

const SOCKET = 41;
/** Unix, IPv4, IPv6, netlink: the families that a network namespace separates. VSOCK reaches the hypervisor. */
const FAMILIES = [1, 2, 10, 16];
const CLONE = 56;
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const NAMESPACES = 0x7e02_0000;
const IOCTL = 16;
/** TIOCSTI and TIOCLINUX put characters into a terminal's input. */
const TERMINAL_INPUT = [0x5412, 0x541c];

function load(offset: number): Instruction {
  return { code: LD, k: offset };
}

function deny(errno: number): Instruction {
  return { code: RET, k: 0x0005_0000 | errno };
}

function when(code: number, k: number, then: Instruction): Instruction[] {
  return [{ code, skip: [0, 1], k }, then];
}

function unless(code: number, k: number, then: Instruction): Instruction[] {
  return [{ code, skip: [1, 0], k }, then];
}

/** `rule`, which has to end in a decision, for one call, with its argument loaded. */
function argumentRule(call: number, argument: number, rule: readonly Instruction[]): Instruction[] {
  return [{ code: JEQ, skip: [0, rule.length + 1], k: call }, load(ARGUMENTS + 8 * argument), ...rule];
}

function encode({ code, skip: [yes, no] = [0, 0], k }: Instruction): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt8(yes, 2);
  bytes.writeUInt8(no, 3);
  bytes.writeUInt32LE(k >>> 0, 4);
  return bytes;
}
