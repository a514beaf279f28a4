import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import type { GradedCheck } from '../../src/grade/grade-report.js';
import {
  type BareLaneResult,
  bareChecks,
  bareDevices,
  runBareLane,
} from '../../src/labs/my-rng/grading/bare.js';
import { BareRng } from '../../src/labs/my-rng/grading/bare-rng.js';
import { keyedNumbers } from '../../src/labs/my-rng/grading/keyed.js';
import { DeviceOracle, glibcOracle, keyedOracle } from '../../src/labs/my-rng/grading/oracle.js';
import { type BareMachine, type BareSpec, launchBare } from '../../src/machine/bare.js';
import { scaled } from '../../src/timeouts.js';
import { DEVICE_SOURCE, deviceType, findBuiltTree, linkVariants } from '../support/device-qemu.js';
import { deadlyVariants, deviceVariants, timedVariants, variantSource } from '../support/device-variants.js';
import { useTempFolder } from '../support/temp.js';

const tree = await findBuiltTree();
const why = tree === undefined ? ' (skipped: no QEMU in the cache; `lab up` builds one)' : '';
const timeouts = { ...scaled(1), qtestCommand: 3000 };
const { signal } = new AbortController();
const KEY = '00112233445566778899aabbccddeeff';

const folder = useTempFolder();
let qemu: { binary: string; dataDirs: readonly string[] };

beforeAll(async () => {
  if (tree === undefined) return;
  const reference = await readFile(DEVICE_SOURCE, 'utf8');
  const edits = Object.entries(deviceVariants).map(([name, variant]) => [name, variant.edits] as const);
  const sources = new Map(
    [...edits, ...Object.entries({ ...timedVariants, ...deadlyVariants })].map(([name, all]) => [
      name,
      variantSource(reference, all),
    ]),
  );
  qemu = { binary: await linkVariants(tree, sources, folder.path), dataDirs: tree.dataDirs };
}, 240_000);

function launch(name: string, instances = 1, properties = '', more: Partial<BareSpec> = {}) {
  const devices = bareDevices(deviceType(name) + properties, instances);
  return launchBare({ qemu, devices, ...more }, { timeouts, signal });
}

function lane(name: string, properties = ''): Promise<BareLaneResult> {
  return runBareLane({
    start: (instances) => launch(name, instances, properties),
    signal,
    timeouts,
    nonce: Buffer.from(`nonce of ${name}`),
    on: 'student device, qtest',
  });
}

const every = ({ lines }: BareLaneResult) => Object.values(lines).flat();

/** Checks that say something against the device, and how they ended. */
function against(checks: readonly GradedCheck[]): Record<string, string> {
  const bad = checks.filter(({ outcome }) => !['passed', 'blocked', 'skipped'].includes(outcome));
  return Object.fromEntries(bad.map(({ id, outcome }) => [id, outcome]));
}

describe.skipIf(tree === undefined)(`the bare lane${why}`, () => {
  test.each([
    ['reference device', ''],
    ['keyed reference device', `,key=${KEY}`],
  ])('passes the %s with proof in every check', async (_, properties) => {
    const all = every(await lane('reference', properties));
    expect(all.map(({ id, outcome }) => `${id} ${outcome}`).sort()).toEqual(
      bareChecks.map(({ id }) => `${id} passed`).sort(),
    );
    for (const { evidence } of all) expect(evidence[0]).toMatch(/^proof: /);
  });

  test('collects what helps to mark enhancements', async () => {
    expect((await lane('algorithm_register')).enhancementEvidence).toEqual(
      expect.arrayContaining([
        'property algorithm (string): Generator of the numbers: libc, xorshift64star, pcg32, mt19937',
        'further register: offset 0x10: a write changes what seeds mean',
      ]),
    );
    expect((await lane('reads_ones')).enhancementEvidence.join('\n')).not.toContain('further register');
  });

  test.concurrent.each(Object.entries(deviceVariants))('%s', async (name, { fails }) => {
    const { lines } = await lane(name);
    const found = Object.entries(lines).map(([line, checks]) => [line, against(checks)] as const);
    expect(Object.assign({}, ...found.map(([, bad]) => bad))).toEqual(fails);
    const charged = found.filter(([, bad]) => Object.keys(bad).length > 0).map(([line]) => line);
    const meant = bareChecks.filter(({ id }) => id in fails).map(({ line }) => line);
    expect(charged).toEqual([...new Set(meant)]);
    expect(charged.length).toBeLessThanOrEqual(1);
    const bad = Object.values(lines)
      .flat()
      .filter(({ id }) => id in fails);
    for (const { blame, fact, evidence } of bad) {
      expect(blame).toBe('submission');
      expect(fact).toBeTruthy();
      expect(evidence.length).toBeGreaterThan(0);
    }
  });
});

describe.skipIf(tree === undefined)(`a device that goes by the clock${why}`, () => {
  const names = Object.keys(timedVariants).flatMap((name) => Array<string>(6).fill(name));
  test.concurrent.each(names)('%s fails one line, at whatever time', async (name) => {
    const { lines } = await lane(name);
    expect(Object.values(against(lines['device-repeat-seed']))).toContain('failed');
    expect(against(lines['device-registers'])).toEqual({});
  });
});

describe.skipIf(tree === undefined)(`a device that ends QEMU${why}`, () => {
  test.concurrent.each([
    ['realize_loop', 'timed-out', 'QEMU did not come up in time: it hangs while it makes the devices'],
    ['realize_abort', 'crashed', 'QEMU was killed by SIGABRT instead of starting'],
    ['realize_error', 'failed', 'QEMU exited with code 1 instead of starting'],
    ['not_built', 'failed', 'this QEMU has no device my_rng_not_built: its source file was not built'],
  ])('%s: told once for each line, nothing else is judged', async (name, outcome, fact) => {
    const { lines } = await lane(name);
    for (const [first, ...rest] of Object.values(lines)) {
      expect(first).toMatchObject({ outcome, fact, blame: 'submission' });
      expect(new Set(rest.map((check) => check.outcome))).toEqual(new Set(['blocked']));
    }
  });

  test('exit in the read function is charged where RNG is read, and only there', async () => {
    const all = every(await lane('read_exit'));
    const outcome = (id: string) => all.find((check) => check.id === id)?.outcome;
    expect(outcome('seed-repeats')).toBe('crashed');
    expect(outcome('pci-identity')).toBe('passed');
    expect(outcome('unplug')).toBe('passed');
    expect(all.find(({ id }) => id === 'seed-repeats')?.fact).toBe(
      'QEMU exited with code 0 during a 4-byte read at offset 0x0',
    );
  });

  test('its last lines are evidence', async () => {
    const all = every(await lane('abort_on_byte'));
    const evidence = all.find(({ id }) => id === 'access-sizes')?.evidence.join('\n');
    expect(evidence).toContain('assertion failed: (size != 1)');
  });
});

describe.skipIf(tree === undefined)(`a bare machine${why}`, () => {
  test('runs behind a wrapper that hands descriptors on', async () => {
    await using machine = await launch('reference', 1, '', { wrap: ['env', 'LAB_WRAPPED=1'] });
    expect(await machine.monitor.execute('query-status')).toMatchObject({ status: 'running' });
  });

  test('how it ended is known behind a wrapper that lets go of the connections and notices later', async () => {
    const late = ['sh', '-c', '"$@" & exec 3>&- 4>&-; wait $!; code=$?; sleep 0.2; exit $code', 'sh'];
    const start = launch('realize_abort', 1, '', { wrap: late });
    const message = 'QEMU was killed by SIGABRT instead of starting';
    await expect(start).rejects.toMatchObject({ code: 'machine/start-crashed', message });
    await using machine = await launch('read_exit', 1, '', { wrap: late });
    const rng = await BareRng.map(machine, 'rng0');
    await expect(rng.read(0)).rejects.toMatchObject({ cause: { code: 'qtest/closed' } });
    expect(await machine.collect()).toMatchObject({ code: 0, signal: null });
  });

  test('a program that cannot be started is the fault of the host', async () => {
    const failure = launch('reference', 1, '', { wrap: ['/nonexistent/sandbox'] });
    await expect(failure).rejects.toMatchObject({ code: 'machine/spawn', blame: 'host' });
  });

  test('what is printed without end is kept in bounds', async () => {
    const flood = ['sh', '-c', 'yes "$(head -c 2000 /dev/zero | tr "\\0" x)" | head -c 20010000 >&2; exit 3'];
    const error = await launch('reference', 1, '', { wrap: flood }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'machine/start',
      message: 'QEMU exited with code 3 instead of starting',
    });
    const { evidence } = error as { evidence: string[] };
    expect(evidence).toEqual(Array(20).fill('x'.repeat(400)));
  });

  test('an interrupted access ends at once, and the machine is killed', async () => {
    const stop = new AbortController();
    const devices = bareDevices(deviceType('loop_at_8'), 1);
    const lane = runBareLane({
      start: async () => {
        const machine = await launchBare({ qemu, devices }, { timeouts, signal: stop.signal });
        started.push(machine);
        return machine;
      },
      signal: stop.signal,
      timeouts: scaled(100),
      nonce: Buffer.from('any'),
      on: '',
    });
    const started: BareMachine[] = [];
    setTimeout(() => stop.abort(), 600);
    await expect(lane).rejects.toMatchObject({ code: 'interrupted' });
    for (const machine of started) expect(await machine.exited).toMatchObject({ signal: 'SIGKILL' });
  });
});

describe.skipIf(tree === undefined)(`the keyed reference device and the oracles${why}`, () => {
  test('gives the numbers that the host computes', async () => {
    await using oracle = new DeviceOracle(() => launch('reference', 1, `,key=${KEY}`));
    for (const [seed, count] of [
      [0x42, 5],
      [0, 3],
      [0xffffffff, 600],
      [0x42, 40],
    ] as const) {
      expect(await oracle.numbers(seed, count)).toEqual(keyedNumbers(KEY, seed, 0, count));
      expect(await keyedOracle(KEY).numbers(seed, count)).toEqual(keyedNumbers(KEY, seed, 0, count));
    }
  });

  test('counts valid accesses only, from power-on', async () => {
    await using machine = await launch('reference', 1, `,key=${KEY}`);
    const path = '/machine/peripheral/rng0';
    const count = (property: string) => machine.monitor.execute('qom-get', { path, property });
    const rng = await BareRng.map(machine, 'rng0');
    expect(await rng.numbers(3)).toEqual(keyedNumbers(KEY, 0, 0, 3));
    await rng.sequence(7, 2);
    await rng.read(4);
    await rng.readSized(0, 1);
    await rng.write(0, 4, 9);
    expect([await count('reads'), await count('seeds')]).toEqual([5, 1]);
    await machine.monitor.execute('system_reset');
    expect([await count('reads'), await count('seeds')]).toEqual([5, 1]);
  });

  test.each(['', '0123', '0123456789abcde', '0123456789abcdeg', '00'.repeat(33)])(
    'refuses the key "%s"',
    async (key) => {
      const error = await launch('reference', 1, `,key=${key}`).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'machine/start' });
      expect((error as { evidence: string[] }).evidence.join()).toContain('the key must be an even number');
    },
  );

  test('an oracle asks a device, and asks again in a new QEMU when it dies', async () => {
    const machines: BareMachine[] = [];
    await using oracle = new DeviceOracle(async () => {
      const machine = await launch('reference');
      machines.push(machine);
      return machine;
    });
    expect(await oracle.numbers(0x42, 5)).toEqual(await glibcOracle.numbers(0x42, 5));
    await machines[0]?.kill();
    const [first, second] = await Promise.all([oracle.numbers(7, 300), oracle.numbers(0x42, 2)]);
    expect(first).toEqual(await glibcOracle.numbers(7, 300));
    expect(second).toEqual([286129175, 1594929109]);
    expect(machines).toHaveLength(2);
  });

  test('an oracle says whose fault it is that there is no answer', async () => {
    await using dead = new DeviceOracle(() => launch('read_exit'));
    await expect(dead.numbers(1, 1)).rejects.toMatchObject({
      code: 'grading/device-died',
      blame: 'submission',
    });
    const other = { qemu, devices: ['isa-serial,id=rng0'] };
    await using loose = new DeviceOracle(() => launchBare(other, { timeouts, signal }));
    await expect(loose.numbers(1, 1)).rejects.toMatchObject({ code: 'grading/no-registers' });
  });
});
