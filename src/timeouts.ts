/**
 * Every deadline of the library, in milliseconds, as measured on an idle two-core host under TCG and multiplied
 * by three or more. `scaled()` stretches them to slower hosts; nothing else in the library holds a literal time.
 */
const base = {
  /** QEMU process start to its QMP greeting. */
  qmpGreeting: 10_000,
  /** One QMP command. */
  qmpCommand: 10_000,
  /** One qtest command. */
  qtestCommand: 5_000,
  /** One qtest command to a device under test: a batch of register accesses takes milliseconds. */
  bareCommand: 3_000,
  /** QEMU's connections closed to its exit known and its last output read; a core dump may come in between. */
  dying: 2_000,
  /** Silence on the console while a guest boots before it counts as hung. */
  bootSilence: 30_000,
  /** First line of a kernel's trouble to the end of its report. */
  consoleSettle: 500,
  /** Machine start to the first SSH command answered. */
  boot: 120_000,
  /** The same for a machine for grading, which boots in two seconds or hangs. */
  gradedBoot: 40_000,
  /** A guest that is to prove that the accelerator works. */
  accelProbe: 8_000,
  /** TCP connect and SSH handshake. */
  sshConnect: 15_000,
  /** A short command in the guest. */
  guestCommand: 20_000,
  /** A file to or from the guest. */
  guestTransfer: 60_000,
  /** Guest shutdown to QEMU exit, before QMP `quit`. */
  powerdown: 15_000,
  /** QMP `quit` to QEMU exit, before SIGKILL. */
  quit: 5_000,
  /** Name look-up, TCP and TLS connect, and response headers of a download. */
  fetchHeaders: 15_000,
  /** No byte of a download's body. */
  fetchIdle: 30_000,
  /** Refreshing the index of one Debian suite. */
  aptUpdate: 300_000,
  /** A download by apt, whose own idle timer is `fetchIdle`. */
  aptDownload: 3_600_000,
  /** Unpacking a source package and applying Debian's patches. */
  unpackSource: 900_000,
  /** A host tool that only prints something. */
  hostTool: 30_000,
  /** Reading one hand-in: gigabytes of build products in an archive are passed over at 100 MB/s. */
  intake: 180_000,
  /** Building QEMU or Linux from nothing. */
  build: 3_600_000,
  /** Building one module or program. */
  smallBuild: 300_000,
  /** Building a submission on a seeded tree; a rebuild of half of QEMU fits in it. */
  submittedBuild: 300_000,
  /** Building a submission's kernel or module, of which a few files at most are new. */
  submittedKernel: 100_000,
  /** Making a guest image. */
  image: 900_000,
} as const;

/** All deadlines of one host; `scale` is what they were multiplied by. */
export type Timeouts = { readonly [K in keyof typeof base | 'scale']: number };

/** All deadlines multiplied by `scale` (1 = the host they were measured on; never shortened below it). */
export function scaled(scale: number): Timeouts {
  const factor = Math.max(1, scale);
  const deadlines = Object.entries(base).map(([name, ms]) => [name, Math.round(ms * factor)]);
  return { ...Object.fromEntries(deadlines), scale: factor } as Timeouts;
}
