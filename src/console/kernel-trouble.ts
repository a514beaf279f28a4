/** What can go wrong in a kernel and say so on its console. */
export type TroubleKind =
  | 'panic'
  | 'no-root'
  | 'no-init'
  | 'oops'
  | 'bug'
  | 'general-protection'
  | 'double-fault'
  | 'stack-overflow'
  | 'list-corruption'
  | 'usercopy'
  | 'refcount'
  | 'warning'
  | 'kasan'
  | 'kfence'
  | 'kcsan'
  | 'kmsan'
  | 'ubsan'
  | 'slab'
  | 'bad-page'
  | 'lockdep'
  | 'atomic-sleep'
  | 'spinlock'
  | 'soft-lockup'
  | 'hard-lockup'
  | 'rcu-stall'
  | 'hung-task'
  | 'kmemleak'
  | 'out-of-memory'
  | 'allocation-failure'
  | 'stack-trace';

/**
 * How a report ends: `marker` with `---[ end trace`, `panic` with its own marker, `ruler` with a line of `=`, `trace` when
 * its call trace is over, `kill` with the process that was killed, `line` at once.
 */
export type Ending = 'marker' | 'panic' | 'ruler' | 'trace' | 'kill' | 'line';

export interface Head {
  readonly kind: TroubleKind;
  readonly pattern: RegExp;
  readonly ending: Ending;
  /** Names no trouble of its own when it follows another head: the second half of one report. */
  readonly second?: true;
  /** The report may hold any text of its context until it ends, not only lines known to belong to reports. */
  readonly free?: true;
}

/** First match wins. Formats of Linux 6.1 to 6.12; the source file that prints each is named. */
const HEADS: readonly Head[] = [
  // init/do_mounts.c, init/main.c, kernel/panic.c
  {
    kind: 'no-root',
    pattern: /^Kernel panic - not syncing: VFS: Unable to mount root/,
    ending: 'panic',
    free: true,
  },
  {
    kind: 'no-init',
    pattern: /^Kernel panic - not syncing: (?:No working init found|Requested init .* failed)/,
    ending: 'panic',
    free: true,
  },
  { kind: 'panic', pattern: /^Kernel panic - not syncing: /, ending: 'panic', free: true },
  // arch/x86/mm/fault.c
  {
    kind: 'oops',
    pattern: /^BUG: (?:kernel NULL pointer dereference|unable to handle (?:page fault|kernel))/,
    ending: 'marker',
  },
  // arch/x86/kernel/traps.c
  { kind: 'double-fault', pattern: /^(?:traps: )?PANIC: double fault\b/, ending: 'marker' },
  { kind: 'stack-overflow', pattern: /^BUG: \w+ stack guard page was hit at /, ending: 'marker' },
  {
    kind: 'general-protection',
    pattern: /^(?:Oops: )?(?:segment-related )?general protection fault\b.*: [0-9a-f]{4} \[#\d+\]/,
    ending: 'marker',
    second: true,
  },
  {
    kind: 'double-fault',
    pattern: /^(?:Oops: )?double fault: [0-9a-f]{4} \[#\d+\]/,
    ending: 'marker',
    second: true,
  },
  // lib/bug.c; then arch/x86/kernel/dumpstack.c: `Oops: invalid opcode: 0000 [#1]`, before 6.10 without `Oops: `
  { kind: 'bug', pattern: /^[kK]ernel BUG at /, ending: 'marker', second: true },
  {
    kind: 'oops',
    pattern: /^(?:Oops|[a-z][a-z0-9 -]{2,40})(?:: [A-Za-z][\w ,.-]{0,60})?: [0-9a-f]{4} \[#\d+\](?:$| [A-Z])/,
    ending: 'marker',
    second: true,
  },
  // lib/list_debug.c, mm/usercopy.c, lib/refcount.c
  { kind: 'list-corruption', pattern: /^list_(?:add|del) (?:corruption|double add)/, ending: 'marker' },
  {
    kind: 'usercopy',
    pattern: /^usercopy: Kernel memory (?:exposure|overwrite) attempt detected /,
    ending: 'marker',
  },
  { kind: 'refcount', pattern: /^refcount_t: /, ending: 'marker' },
  // kernel/panic.c
  { kind: 'warning', pattern: /^WARNING: CPU: \d+ PID: \d+ at /, ending: 'marker', second: true },
  // mm/kasan, mm/kfence, kernel/kcsan, mm/kmsan, lib/ubsan.c
  { kind: 'kasan', pattern: /^BUG: KASAN: /, ending: 'ruler', free: true },
  { kind: 'kfence', pattern: /^BUG: KFENCE: /, ending: 'ruler', free: true },
  { kind: 'kcsan', pattern: /^BUG: KCSAN: /, ending: 'ruler', free: true },
  { kind: 'kmsan', pattern: /^BUG: KMSAN: /, ending: 'ruler', free: true },
  { kind: 'ubsan', pattern: /^UBSAN: /, ending: 'ruler', free: true },
  // mm/slub.c, mm/page_alloc.c
  {
    kind: 'slab',
    pattern: /^BUG [\w.-]{1,64} \((?:Not tainted|Tainted: [^)]{0,40})\): /,
    ending: 'trace',
    free: true,
  },
  { kind: 'bad-page', pattern: /^BUG: Bad page (?:state|map|cache) /, ending: 'trace', free: true },
  // kernel/locking/lockdep.c, spinlock_debug.c, kernel/sched/core.c
  {
    kind: 'lockdep',
    pattern:
      /^(?:WARNING: (?:possible (?:circular locking|irq lock inversion) dependency detected|possible recursive locking detected|inconsistent lock state|\S+-safe -> \S+-unsafe lock order detected|bad (?:unlock balance|contention) detected!|held lock freed!|lock held when returning to user space!|Nested lock was not taken|chain_key collision|suspicious RCU usage|.{1,40} still has locks held!)|\[ BUG: Invalid wait context \])/,
    ending: 'trace',
    free: true,
  },
  {
    kind: 'atomic-sleep',
    pattern:
      /^BUG: (?:sleeping function called from invalid context|scheduling while atomic|assuming (?:atomic|non migratable) context|using \S+ in preemptible)/,
    ending: 'trace',
  },
  { kind: 'spinlock', pattern: /^BUG: (?:spinlock|rwlock) .* on CPU#\d+/, ending: 'trace' },
  // kernel/watchdog.c, kernel/rcu/tree_stall.h, kernel/hung_task.c
  { kind: 'soft-lockup', pattern: /^(?:watchdog: )?BUG: soft lockup - CPU#\d+ stuck /, ending: 'trace' },
  {
    kind: 'hard-lockup',
    pattern: /^(?:NMI watchdog: |watchdog: )?Watchdog detected hard LOCKUP on cpu \d+/,
    ending: 'trace',
  },
  {
    kind: 'rcu-stall',
    pattern: /^(?:rcu: )?INFO: \w+ (?:self-detected stall|detected (?:expedited )?stalls?) on /,
    ending: 'trace',
    free: true,
  },
  {
    kind: 'hung-task',
    pattern: /^INFO: task .{1,40}:\d+ blocked for more than \d+ seconds/,
    ending: 'trace',
  },
  // mm/kmemleak.c
  { kind: 'kmemleak', pattern: /^kmemleak: \d+ new suspected memory leaks/, ending: 'line' },
  {
    kind: 'kmemleak',
    pattern: /^(?:kmemleak: )?unreferenced object 0x[0-9a-f]+ \(size \d+\):/,
    ending: 'trace',
  },
  // mm/oom_kill.c, mm/page_alloc.c
  { kind: 'out-of-memory', pattern: /^.{1,64} invoked oom-killer: gfp_mask=/, ending: 'kill', free: true },
  {
    kind: 'out-of-memory',
    pattern: /^(?:Memory cgroup out|Out) of memory(?:: Killed process \d+| and no killable processes)/,
    ending: 'line',
  },
  {
    kind: 'allocation-failure',
    pattern: /^.{1,64}: page allocation failure: order:\d+, mode:/,
    ending: 'trace',
  },
  { kind: 'bug', pattern: /^BUG: /, ending: 'trace' },
];

/** The head that this message is, if it is one. */
export function matchHead(text: string): Head | undefined {
  return HEADS.find(({ pattern }) => pattern.test(text));
}

/** Opens the report of a trace that somebody asked for with `dump_stack()`. */
export const bareTrace: Head = { kind: 'stack-trace', pattern: /^Call Trace:/, ending: 'trace' };

/** Kinds after which a guest cannot be trusted to go on. */
export const fatalKinds: readonly TroubleKind[] = [
  'panic',
  'no-root',
  'no-init',
  'oops',
  'bug',
  'general-protection',
  'double-fault',
  'stack-overflow',
  'list-corruption',
  'usercopy',
  'soft-lockup',
  'hard-lockup',
  'rcu-stall',
  'hung-task',
];

/** A stall may be a busy host's. */
export function isStall(kind: TroubleKind): boolean {
  return /lockup|stall|hung/.test(kind);
}

/** What is fatal and the kernel's own doing. */
export const crashKinds = fatalKinds.filter((kind) => !isStall(kind));
