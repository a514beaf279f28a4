import { type Duplex, duplexPair } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { operations, setUp, targetAt } from '../../src/labs/my-rng/fuzz/generate.js';
import {
  describe as inWords,
  isQTest,
  type Operation,
  qtestCommands,
} from '../../src/labs/my-rng/fuzz/operation.js';
import { Random } from '../../src/labs/my-rng/fuzz/random.js';
import { shrink } from '../../src/labs/my-rng/fuzz/shrink.js';
import { devicePairs } from '../../src/labs/my-rng/fuzz/stages.js';
import { QTest } from '../../src/qtest/qtest.js';
import { scaled } from '../../src/timeouts.js';

const targets = () => [targetAt(0, 0, 4), targetAt(1, 1, 1)] as const;

function first(seed: number, count: number): Operation[] {
  const made: Operation[] = [];
  for (const operation of operations({ random: new Random(seed), targets: targets() })) {
    if (made.push(operation) === count) break;
  }
  return made;
}

const words = (list: readonly Operation[]) => list.map(inWords).join('\n');

describe('the operations of a fuzz', () => {
  test('are the same for the same seed, and others for another', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 32 - 1), (seed) => {
        expect(words(first(seed, 300))).toBe(words(first(seed, 300)));
        expect(words(first(seed, 300))).not.toBe(words(first(seed ^ 1, 300)));
      }),
      { numRuns: 20 },
    );
  });

  test('are of every kind, and reach every register, size and border', () => {
    const all = [1, 2, 3, 4].flatMap((seed) => first(seed, 20_000));
    expect([...new Set(all.map(({ kind }) => kind))].sort()).toEqual(
      [
        ...['clock', 'config-read', 'config-write', 'cont', 'fill', 'migrate', 'plug'],
        ...['read', 'reset', 'stop', 'unplug', 'wait', 'write'],
      ].sort(),
    );
    const base = targets()[0].base;
    const seen = new Set(
      all.flatMap((one) =>
        one.kind === 'read' || one.kind === 'write' ? [`${one.kind} ${one.size} ${one.address - base}`] : [],
      ),
    );
    for (const kind of ['read', 'write']) {
      for (const size of [1, 2, 4, 8]) {
        for (let at = 0; at <= 0x30; at += 4) expect(seen).toContain(`${kind} ${size} ${at}`);
        expect(seen).toContain(`${kind} ${size} ${4096 - size}`);
      }
    }
  });

  test('hand out descriptors that are good, wrong and at the ends of the address space', () => {
    const found = first(5, 50_000).flatMap((one) => (one.kind === 'fill' ? descriptors(one.data) : []));
    const lengths = new Set(found.map(({ length }) => length));
    for (const length of [0, 3, 4, 4096, 65536, 0x100000, 0xffffffff]) expect(lengths).toContain(length);
    const addresses = found.map(({ address }) => address);
    expect(addresses.some((address) => address > 2n ** 64n - 0x1000n)).toBe(true);
    expect(addresses.some((address) => address % 4n !== 0n)).toBe(true);
    expect(addresses.filter((address) => address < 0x4000000n).length).toBeGreaterThan(found.length / 2);
  });

  test('are commands that qtest takes', () => {
    const line =
      /^(read[bwlq] 0x[0-9a-f]{1,16}|write[bwlq] 0x[0-9a-f]{1,16} 0x[0-9a-f]{1,16}|in[bwl] 0xcf[c-f]|out[bwl] 0xcf[8-f] 0x[0-9a-f]{1,8}|write 0x[0-9a-f]+ 0x[0-9a-f]+ 0x([0-9a-f]{2})+|clock_step \d+)$/;
    const lines = first(6, 20_000).flatMap((one) => (isQTest(one) ? qtestCommands(one) : []));
    expect(lines.length).toBeGreaterThan(10_000);
    for (const one of lines) expect(one).toMatch(line);
  });
});

function descriptors(data: Buffer): { address: bigint; length: number }[] {
  return Array.from({ length: data.length / 16 }, (_, i) => ({
    address: data.readBigUInt64LE(16 * i),
    length: data.readUInt32LE(16 * i + 8),
  }));
}

describe('random numbers', () => {
  test('are within bounds, and as likely as asked for', () => {
    const random = new Random(9);
    const counts = { often: 0, seldom: 0 };
    for (let i = 0; i < 10_000; i += 1) {
      expect(random.between(3, 5)).toSatisfy((n: number) => n >= 3 && n <= 5);
      const name = random.weighted([
        [9, 'often'],
        [1, 'seldom'],
      ] as const);
      counts[name] += 1;
    }
    expect(counts.often / counts.seldom).toBeGreaterThan(6);
    expect(counts.often / counts.seldom).toBeLessThan(13);
  });
});

describe('shrinking', () => {
  const clock = (ns: number): Operation => ({ kind: 'clock', ns });
  const needs =
    (...wanted: number[]) =>
    async (list: readonly Operation[]) => {
      const rest = [...wanted];
      for (const one of list) if (one.kind === 'clock' && one.ns === rest[0]) rest.shift();
      return rest.length === 0;
    };
  const never = () => false;

  test('leaves what is needed, in its order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(fc.nat(199), { minLength: 1, maxLength: 5 }), async (numbers) => {
        const wanted = numbers.toSorted((a, b) => a - b);
        const all = Array.from({ length: 200 }, (_, i) => clock(i));
        expect(await shrink(all, [], needs(...wanted), never)).toEqual(wanted.map(clock));
      }),
      { numRuns: 30 },
    );
  });

  test('brings in what always comes first when only the end is tried', async () => {
    const all = Array.from({ length: 100 }, (_, i) => clock(i + 1));
    expect(await shrink(all, [clock(0)], needs(0, 99), never)).toEqual([clock(0), clock(99)]);
  });

  test('says so when it does not happen again', async () => {
    expect(await shrink([clock(1)], [], async () => false, never)).toBeUndefined();
  });
});

describe('the devices that are fuzzed', () => {
  const properties = (...names: string[]) => new Map(names.map((name) => [name, '']));

  test('are two basic ones where there are no others', () => {
    expect(devicePairs(new Map())).toEqual([['my_rng', 'my_rng']]);
    expect(devicePairs(properties('key'))).toHaveLength(2);
  });

  test('are of all kinds where they are extended', () => {
    const known = properties('extended', 'msi', 'timing', 'key');
    known.set('algorithm', 'Generator of the numbers: libc, pcg32');
    const all = devicePairs(known).flat();
    for (const part of ['msi=off', 'timing=on', 'key=', 'algorithm=pcg32']) {
      expect(all.some((device) => device.includes(part))).toBe(true);
    }
    expect(all).toContain('my_rng');
    expect(all.join()).not.toContain('mt19937');
  });

  test('get their places from the set-up', () => {
    const list = [...setUp({ targets: targets() })];
    expect(words(list)).toContain('0x10 of device 0:4: 0xe0040000');
    expect(words(list)).toContain('0x10 of device 1:1: 0xe1010000');
  });
});

describe('a batch of qtest commands', () => {
  function peer(answer: (line: string, stream: Duplex) => void): QTest {
    const [ours, theirs] = duplexPair();
    theirs.on('data', (chunk: Buffer) => {
      for (const line of chunk.toString().trimEnd().split('\n')) if (theirs.writable) answer(line, theirs);
    });
    return QTest.attach(ours, { timeouts: scaled(1) });
  }

  test('ends with the last answer', async () => {
    const qtest = peer((_, stream) => void stream.write('OK\n'));
    expect(await qtest.batch(['readl 0x0', 'writel 0x0 0x1'])).toEqual({ answered: 2 });
    expect(await qtest.batch([])).toEqual({ answered: 0 });
    expect(await qtest.readl(0).catch(({ code }) => code)).toBe('qtest/protocol'); // answers stay in step
  });

  test('counts what was answered before QEMU died, and names the next', async () => {
    const qtest = peer((line, stream) => void (line === 'die' ? stream.end() : stream.write('OK\n')));
    const { answered, error } = await qtest.batch(['a', 'b', 'die', 'c']);
    expect(answered).toBe(2);
    expect(error).toMatchObject({ code: 'qtest/closed' });
    expect(error?.message).toContain('qtest connection has ended before the reply to die');
    expect(await qtest.batch(['a'])).toMatchObject({ answered: 0, error: { code: 'qtest/closed' } });
  });
});
