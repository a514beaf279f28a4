import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findTrouble, KernelLog } from '../../src/console/kernel-log.js';
import type { KernelReport } from '../../src/console/kernel-report.js';
import { cleanLine } from '../../src/console/lines.js';

const folder = join(import.meta.dirname, '../fixtures/consoles');
const read = (name: string) => readFileSync(join(folder, name), 'utf8');
const textOf = (name: string) => read(name).split(/\r?\n/).map(cleanLine);

/** What each report must say: fingerprint, lines from to, whether its end was seen, taint. */
function brief({ fingerprint, firstLine, lastLine, complete, tainted }: KernelReport): string {
  const state = complete ? '' : ' cut';
  return `${fingerprint} ${firstLine}-${lastLine}${state}${tainted === undefined ? '' : ` [${tainted}]`}`;
}

const expected: Record<string, readonly string[]> = {
  'allocation-failure.log': ['allocation-failure:virtblkiosim_init<do_one_initcall 0-12 [GO]'],
  'atomic-sleep.log': ['atomic-sleep:my_rng_ioctl 0-20 [GO]', 'atomic-sleep:msleep<my_rng_ioctl 21-38 [GWO]'],
  'bug-6.1.log': ['bug:my_rng_probe<local_pci_probe<pci_device_probe<really_probe 0-25 [GO]'],
  'clean-alpine-firmware.log': [],
  'clean-caller-ids.log': [],
  'clean-debug-kernel.log': [],
  'clean-user-words.log': [],
  'double-fault.log': ['double-fault:entry_SYSCALL_64 0-21 [GO]'],
  'general-protection-6.6.log': ['general-protection:my_rng_exit<__do_sys_delete_module 0-23 [GO]'],
  'general-protection-kasan-6.12.log': ['general-protection:my_rng_ioctl 0-24 [GO]'],
  'hung-tasks.log': ['hung-task:my_rng_ioctl 0-14 [GO]', 'hung-task:my_rng_ioctl 15-29 [GO]'],
  'kasan-use-after-free.log': ['kasan:my_rng_ioctl 0-45 [GO]'],
  'kmemleak.log': [
    'kmemleak:kmemleak: # new suspected memory leaks (see /sys/kernel/debug/kmemleak) 0-0',
    'kmemleak:my_rng_open<chrdev_open 2-10',
    'kmemleak:my_rng_open 11-17',
  ],
  'list-corruption-6.12.log': ['list-corruption:my_rng_exit<__do_sys_delete_module 0-27 [GO]'],
  'lockdep-circular.log': ['lockdep:my_rng_ioctl 1-68 [GO]'],
  'lockdep-unlock.log': ['lockdep:my_rng_ioctl 1-25 []'],
  'oops-after-prompt-truncated.log': ['oops:my_rng_ioctl 0-11 cut [GO]'],
  'oops-in-boot-test-no-time.log': [
    'oops:my_rng_boot_test<kernel_init 0-36 []',
    'panic:Kernel panic - not syncing: Attempted to kill init! exitcode=# 37-39',
  ],
  'oops-null-6.6.log': ['oops:my_rng_ioctl 20-72 [GO]'],
  'oops-smap-6.12.log': ['oops:my_rng_driver_ioctl 0-48 [GO]'],
  'oops-then-panic.log': [
    'oops:my_rng_init<do_one_initcall<do_init_module<__do_sys_init_module 0-40 [GO]',
    'panic:Kernel panic - not syncing: Fatal exception 41-43',
  ],
  'out-of-memory.log': [
    'out-of-memory:hog invoked oom-killer: gfp_mask=#(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO), order=#, oom_score_a 0-20 []',
  ],
  'panic-init-killed-cut.log': ['panic:do_exit<do_group_exit<get_signal 0-12 cut []'],
  'panic-no-init-reboot.log': ['no-init:kernel_init 16-27 []'],
  'panic-no-root.log': [
    'no-root:mount_root_generic<prepare_namespace<kernel_init_freeable<kernel_init 22-36 []',
  ],
  'rcu-stall.log': ['rcu-stall:my_rng_ioctl 0-36 [GO]'],
  'refcount.log': ['refcount:kobject_put<my_rng_exit<__do_sys_delete_module 0-27 [GO]'],
  'slab-redzone.log': ['slab:my_rng_release<__fput 0-28 [GO]'],
  'soft-lockup.log': ['soft-lockup:my_rng_ioctl 0-37 [GO]'],
  'spinlock-and-dump-stack.log': ['spinlock:my_rng_ioctl 0-12 [GO]', 'stack-trace:my_rng_ioctl 14-23 [GO]'],
  'stack-overflow.log': [
    'stack-overflow:my_rng_recurse 0-43 [GO]',
    'panic:Kernel panic - not syncing: Fatal exception in interrupt 44-46',
  ],
  'two-cpus-interleaved.log': [
    'oops:my_rng_release<__fput 1-57 [GO]',
    'warning:my_rng_open<chrdev_open<do_dentry_open<path_openat 0-50 [GO]',
  ],
  'ubsan-6.1.log': ['ubsan:my_rng_ioctl 0-15 []'],
  'ubsan-6.12.log': ['ubsan:my_rng_ioctl 0-15 []'],
  'usercopy.log': ['usercopy:my_rng_ioctl 0-27 [GO]'],
  'warning-with-message.log': [
    'warning:sysfs_warn_dup<sysfs_create_dir_ns<kobject_add_internal<my_rng_init 0-29 [GO]',
  ],
  'warnings-dmesg-raw.log': [
    'warning:my_rng_open<chrdev_open<do_dentry_open 0-23 [GO]',
    'warning:my_rng_open<chrdev_open<do_dentry_open 25-48 [GWO]',
  ],
};

describe('recorded consoles', () => {
  it('has an expectation for every console', () => {
    expect(readdirSync(folder).sort()).toEqual(Object.keys(expected).sort());
  });

  it.each(Object.entries(expected))('%s', (name, reports) => {
    expect(findTrouble(textOf(name)).map(brief)).toEqual(reports);
  });
});

describe('a report', () => {
  it('names the instruction, the reliable frames and the module', () => {
    const [report] = findTrouble(textOf('oops-null-6.6.log'));
    expect(report?.title).toBe('BUG: kernel NULL pointer dereference, address: 0000000000000010');
    expect(report?.rip).toEqual({ symbol: 'my_rng_ioctl', offset: 0x4f, size: 0xf0, module: 'my_rng' });
    expect(report?.callTrace.map(({ symbol }) => symbol)).toEqual([
      '__x64_sys_ioctl',
      'do_syscall_64',
      'entry_SYSCALL_64_after_hwframe',
    ]);
  });

  it('keeps two CPUs apart that print at once, and leaves out what programs print', () => {
    const [oops, warning] = findTrouble(textOf('two-cpus-interleaved.log'));
    expect(oops?.lines.every((line) => line.includes('[   T94]'))).toBe(true);
    expect(warning?.lines.every((line) => line.includes('[   T93]'))).toBe(true);
    expect(warning?.lines.at(-1)).toContain('---[ end trace');
  });

  it('carries the message of a WARN, whether it comes before or after the head', () => {
    const head = 'WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2';
    const cut = '------------[ cut here ]------------';
    for (const lines of [
      [cut, 'my message', head],
      [cut, head, 'my message'],
    ]) {
      expect(findTrouble(lines)[0]?.title).toBe(`${head}: my message`);
    }
    expect(findTrouble([cut, head, 'Modules linked in:'])[0]?.title).toBe(head);
  });

  it('takes the trace of the fault, not those of allocation and dependency chain', () => {
    const symbols = (name: string) => findTrouble(textOf(name))[0]?.callTrace.map(({ symbol }) => symbol);
    expect(symbols('kasan-use-after-free.log')).not.toContain('my_rng_open');
    expect(symbols('lockdep-circular.log')).not.toContain('my_rng_seed');
  });

  it('has the same fingerprint at other addresses, times, processes and in cloned functions', () => {
    const text = read('refcount.log');
    const moved = text
      .replace(/PID: 180/g, 'PID: 4711')
      .replace(/\+0x[0-9a-f]+\//g, '+0x7/')
      .replace(/\[ +(\d+)\./g, '[  9$1.')
      .replace('.constprop.0', '.isra.0.cold');
    const [before] = findTrouble(text);
    const [after] = findTrouble(moved);
    expect(after?.fingerprint).toBe(before?.fingerprint);
    expect(after?.lines).not.toEqual(before?.lines);
  });

  it('survives truncation anywhere: what is left of a report is found, and its kind does not change', () => {
    for (const name of [
      'oops-null-6.6.log',
      'kasan-use-after-free.log',
      'lockdep-circular.log',
      'rcu-stall.log',
    ]) {
      const lines = textOf(name);
      const [whole] = findTrouble(lines);
      const log = new KernelLog();
      for (const [i, line] of lines.entries()) {
        log.push(line);
        const [part] = log.reports();
        if (part === undefined) continue;
        expect(part.kind).toBe(whole?.kind);
        expect(part.lastLine).toBeLessThanOrEqual(i);
      }
      expect(log.reports()).toEqual(findTrouble(lines));
    }
  });
});

describe('any text', () => {
  const phrases = Object.keys(expected).flatMap((name) => textOf(name));
  const anyLine = fc.oneof(
    fc.constantFrom(...phrases),
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc
      .tuple(fc.constantFrom(...phrases), fc.nat(200))
      .map(([line, at]) => line.slice(at % (line.length + 1))),
    fc.tuple(fc.constantFrom(...phrases), fc.constantFrom(...phrases)).map(([a, b]) => `${a}${b}`),
  );

  it('gives ordered, bounded, consistent reports and never throws', () => {
    const property = fc.property(fc.array(anyLine, { maxLength: 120 }), (lines) => {
      for (const report of findTrouble(lines)) {
        expect(report.firstLine).toBeGreaterThanOrEqual(0);
        expect(report.lastLine).toBeGreaterThanOrEqual(report.firstLine);
        expect(report.lastLine).toBeLessThan(lines.length);
        expect(report.lines.length).toBeLessThanOrEqual(report.lastLine - report.firstLine + 1);
        expect(report.lines.every((line) => lines.includes(line))).toBe(true);
        expect(report.fingerprint.startsWith(`${report.kind}:`)).toBe(true);
      }
    });
    fc.assert(property, { numRuns: 300 });
  });

  it('stays bounded under a flood of trouble', () => {
    const log = new KernelLog();
    const head = 'BUG: KASAN: slab-out-of-bounds in f+0x1/0x2';
    for (let i = 0; i < 5000; i += 1) log.push(`[    1.000000][ T${i}] ${head}`);
    for (let i = 0; i < 5000; i += 1) log.push(`[    1.000000][ T4999] filler ${i}`);
    const reports = log.reports();
    expect(reports.length).toBeLessThanOrEqual(200);
    expect(Math.max(...reports.map(({ lines }) => lines.length))).toBeLessThanOrEqual(400);
  });

  it('does not choke on long lines', () => {
    for (const unit of ['a', 'a ', '[ ', '=', 'a+0x', ': 0', 'BUG ', '\u001b[', '\u001b]']) {
      const line = unit.repeat(8192 / unit.length);
      for (const prefix of ['', 'RIP: 0010:', '[    1.000000] BUG: KASAN: ', 'CPU: 0 Tainted: ', ' ']) {
        expect(findTrouble([cleanLine(prefix + line)]).length).toBeLessThanOrEqual(1);
      }
    }
  });
});
