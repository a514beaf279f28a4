import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { enterScript } from '../../src/sandbox/enter.js';
import { buildLimits } from '../../src/sandbox/limits.js';
import { systemCallFilter } from '../../src/sandbox/seccomp.js';
import { isOrphan, owner } from '../../src/sandbox/stage.js';
import { wallArguments } from '../../src/sandbox/walls.js';

const X86_64 = 0xc000003e;
const ALLOWED = 0x7fff0000;
const denied = (errno: number) => 0x50000 + errno;

describe('the filter of system calls', () => {
  const decide = (call: number, args: number[] = [], arch = X86_64) =>
    interpret(systemCallFilter('x64') ?? Buffer.alloc(0), call, args, arch);

  test('allows what programs need', () => {
    for (const call of [0, 1, 2, 9, 59, 57, 202, 231, 257, 318, 319])
      expect(decide(call), `${call}`).toBe(ALLOWED);
    for (const family of [1, 2, 10, 16]) expect(decide(41, [family])).toBe(ALLOWED);
    expect(decide(56, [0x3d0f00])).toBe(ALLOWED); // a thread
    expect(decide(16, [0, 0x5401])).toBe(ALLOWED); // TCGETS
  });

  test('denies what leads out', () => {
    for (const call of [101, 165, 248, 250, 272, 308, 313, 103])
      expect(decide(call), `${call}`).toBe(denied(1));
    for (const call of [435, 425, 321, 298]) expect(decide(call), `${call}`).toBe(denied(38));
    for (const family of [38, 40, 17, 0, 3]) expect(decide(41, [family])).toBe(denied(97));
    for (const flag of [0x20000, 0x10000000, 0x40000000]) expect(decide(56, [flag | 17])).toBe(denied(1));
    for (const request of [0x5412, 0x541c]) expect(decide(16, [0, request])).toBe(denied(1));
  });

  test('does not confuse the numbers of other ABIs with these', () => {
    expect(decide(0, [], 0x40000003)).toBe(denied(38)); // i386
    expect(decide(0x40000000)).toBe(denied(38)); // x32
    expect(systemCallFilter('arm64')).toBeUndefined();
  });
});

describe('the walls', () => {
  const jail = { overlay: { lower: '/seed', at: '/tree' }, limits: buildLimits, env: { A: 'b c' } };
  const walls = wallArguments(jail, { filter: true });
  const pairs = walls.map((arg, i) => `${arg} ${walls[i + 1]}`);

  test('unshare everything and end with this process', () => {
    const all = ['user', 'pid', 'net', 'ipc', 'uts', 'cgroup-try'].map((name) => `--unshare-${name}`);
    expect(walls).toEqual(
      expect.arrayContaining([
        ...all,
        '--disable-userns',
        '--die-with-parent',
        '--new-session',
        '--clearenv',
      ]),
    );
    expect(pairs).toEqual(expect.arrayContaining(['--cap-drop ALL', '--remount-ro /', '--remount-ro /dev']));
  });

  test('show no host folder but those of programs', () => {
    const sources = walls.flatMap((arg, i) => (/^--(ro-)?bind(-try)?$/.test(arg) ? [walls[i + 1]] : []));
    const allowed =
      /^(\/usr|\/bin|\/sbin|\/lib\w*|\/etc\/ld\.so\.cache|\/etc\/alternatives|\/tmp\/(tree|empty|b\d+))$/;
    expect(sources.filter((path) => path === undefined || !allowed.test(path))).toEqual([]);
    expect(pairs).toContain('--bind /tmp/tree');
  });

  test('every folder in memory has a size', () => {
    walls.forEach((arg, i) => {
      if (arg === '--tmpfs') expect(walls[i - 2], walls[i + 1]).toBe('--size');
    });
  });
});

describe('the script that enters', () => {
  const around = { stage: "/t/it's", asRoot: true, group: undefined, extraction: undefined };
  const jail = {
    overlay: { lower: '/a,b:c', at: '/tree', edits: { put: [{ from: '/x y', to: 'a b' }], remove: ['-r'] } },
    limits: buildLimits,
    descriptors: [3],
  };

  test('quotes every path and keeps them out of mount options', () => {
    const script = enterScript(jail, around);
    expect(script).toContain("'/t/it'\\''s/hall'");
    expect(script).toContain('lowerdir=lower,upperdir=upper,workdir=work overlay tree');
    expect(script).toContain('rm -f -- tree/-r');
    expect(script).toContain("cp --remove-destination -- '/x y' 'tree/a b'");
    expect(script).toContain('case $fd in 0|1|2|3|21) ;;');
  });

  test('gives root’s jails an id that no account has, and drops what root could do', () => {
    const [first, second] = [enterScript(jail, around), enterScript(jail, around)].map((script) =>
      Number(/--reuid=(\d+)/.exec(script)?.[1]),
    );
    expect(first).toBeGreaterThan(0x7000_0000 - 1);
    expect(first).not.toBe(second);
    expect(enterScript(jail, { ...around, asRoot: false })).not.toContain('setpriv');
    expect(enterScript(jail, around)).toContain('--bounding-set=-all');
  });

  test('limits the address space only where there is no control group', () => {
    const group = { joinFiles: ['/sys/fs/cgroup/lab-x/cgroup.procs'], remove: async () => {} };
    expect(enterScript(jail, around)).toContain('--as=');
    expect(enterScript(jail, { ...around, group })).not.toContain('--as=');
    expect(enterScript(jail, { ...around, group })).toContain('echo $$ > /sys/fs/cgroup/lab-x/cgroup.procs');
  });
});

describe('names of what a process leaves behind', () => {
  const [pid, start, space] = owner().split('.');

  test('a live process, another namespace and other names are left alone', () => {
    const names = [
      `lab-jail-${owner()}-abc`,
      `lab-${owner()}-ff`,
      `lab-jail-${pid}.1.1-x`,
      'lab-1.2-x',
      'lab-vm-x',
    ];
    expect(names.filter(isOrphan)).toEqual([]);
    expect(readFileSync(`/proc/${pid}/stat`, 'utf8')).toContain(` ${start} `);
  });

  test('an ended process is known by its start, though its id was given again', () => {
    const names = [
      `lab-out-${pid}.1.${space}-x`,
      `lab-${pid}.1.${space}-ff`,
      `lab-edits-4194305.1.${space}-x`,
    ];
    expect(names.filter(isOrphan)).toEqual(names);
  });
});

/** Classic BPF, as far as the filter uses it (linux/filter.h). */
function interpret(program: Buffer, call: number, args: readonly number[], arch: number): number {
  const data = new Map([[0, call], [4, arch], ...args.map((arg, i): [number, number] => [16 + 8 * i, arg])]);
  let accumulator = 0;
  for (let pc = 0; pc < program.length / 8; pc += 1) {
    const at = pc * 8;
    const [code, k] = [program.readUInt16LE(at), program.readUInt32LE(at + 4)];
    if (code === 0x06) return k;
    if (code === 0x20) accumulator = data.get(k) ?? 0;
    else {
      const holds =
        code === 0x15 ? accumulator === k : code === 0x35 ? accumulator >= k : (accumulator & k) >>> 0 !== 0;
      pc += program[at + (holds ? 2 : 3)] ?? 0;
    }
  }
  throw new Error('the program has no end');
}
