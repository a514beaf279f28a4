import { type Duplex, duplexPair } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { LabError } from '../../src/errors.js';
import { ByteLines } from '../../src/monitor/line-channel.js';
import { readConfig } from '../../src/qtest/pci.js';
import { QTest, type QTestOptions } from '../../src/qtest/qtest.js';
import { scaled } from '../../src/timeouts.js';

const timeouts = scaled(1);

/** A qtest server of a few lines. */
function peer(
  reply: (command: string, send: (line: string) => void, stream: Duplex) => void,
  options: Partial<QTestOptions> = {},
): { qtest: QTest; seen: string[]; send: (line: string) => void } {
  const [ours, theirs] = duplexPair();
  const seen: string[] = [];
  const send = (line: string) => void theirs.write(`${line}\n`);
  const lines = new ByteLines(1 << 22, (line) => {
    seen.push(line);
    reply(line, send, theirs);
  });
  theirs.on('data', (chunk: Buffer) => lines.push(chunk));
  return { qtest: QTest.attach(ours, { timeouts, ...options }), seen, send };
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.catch((reason: unknown) => reason);
  return error instanceof LabError ? error.code : `no LabError but ${String(error)}`;
}

describe('QTest', () => {
  it('writes commands as QEMU parses them and reads its numbers', async () => {
    const { qtest, seen } = peer((command, send) => {
      if (command.startsWith('readq')) send('OK 0xfffffffffffffff0');
      else if (command.startsWith('read ')) send('OK 0x00ff10');
      else if (command.startsWith('clock_step')) send('OK 1000000000000000000');
      else if (/^(read|in)/.test(command)) send('OK 0x00000000cafebabe');
      else send('OK');
    });
    expect(await qtest.readl(0xfebf1000)).toBe(0xcafebabe);
    expect(await qtest.readq(0xfebf1000n)).toBe(0xfffffffffffffff0n);
    expect(await qtest.inl(0xcfc)).toBe(0xcafebabe);
    await qtest.writel(0x10, 0xffffffff);
    await qtest.writeq(0x10, 2n ** 64n - 1n);
    await qtest.outb(0xffff, 255);
    expect([...(await qtest.memread(0x20, 3))]).toEqual([0, 255, 16]);
    await qtest.memwrite(0x20, Uint8Array.of(1, 2, 255));
    expect(await qtest.clockStep(5)).toBe(10n ** 18n);
    await qtest.clockStep();
    await qtest.interceptIrqs('in', 'ioapic');
    expect(seen).toEqual([
      'readl 0xfebf1000',
      'readq 0xfebf1000',
      'inl 0xcfc',
      'writel 0x10 0xffffffff',
      'writeq 0x10 0xffffffffffffffff',
      'outb 0xffff 0xff',
      'read 0x20 0x3',
      'write 0x20 0x3 0x0102ff',
      'clock_step 5',
      'clock_step',
      'irq_intercept_in ioapic',
    ]);
  });

  it.each<[string, (qtest: QTest) => Promise<unknown>]>([
    ['a value too wide', (qtest) => qtest.writeb(0, 256)],
    ['a negative value', (qtest) => qtest.writel(0, -1)],
    ['a fraction', (qtest) => qtest.writel(0, 1.5)],
    ['a port beyond the range', (qtest) => qtest.inb(0x10000)],
    ['an address beyond 64 bits', (qtest) => qtest.readb(1n << 64n)],
    ['no bytes', (qtest) => qtest.memread(0, 0)],
    ['a path with a newline', (qtest) => qtest.interceptIrqs('in', 'a\nb')],
    ['an unaligned register', (qtest) => readConfig(qtest, { bus: 0, slot: 0, function: 0 }, 2, 4)],
  ])('sends nothing for %s', async (_, call) => {
    const { qtest, seen } = peer((__, send) => send('OK 0x0'));
    expect(await codeOf(call(qtest))).toBe('qtest/argument');
    await qtest.inb(0);
    expect(seen).toEqual(['inb 0x0']);
  });

  it('tells of interrupts before the reply to the command that caused them', async () => {
    const { qtest } = peer((command, send) => {
      if (command.startsWith('writel')) {
        send('IRQ raise 10');
        send('IRQ raise 11');
        send('IRQ lower 11');
      }
      send('OK');
    });
    const changes: string[] = [];
    const stop = qtest.onIrq(({ line, raised }) => changes.push(`${line} ${raised}`));
    await qtest.writel(0, 1);
    expect(changes).toEqual(['10 true', '11 true', '11 false']);
    expect([qtest.irq(10), qtest.irq(11)]).toEqual([true, false]);
    stop();
    await qtest.writel(0, 1);
    expect(changes).toHaveLength(3);
  });

  it('keeps the order of replies when a command is given up', async () => {
    const held: string[] = [];
    const { qtest, send } = peer((command) => held.push(command), {
      timeouts: { ...timeouts, qtestCommand: 20 },
    });
    expect(await codeOf(qtest.readl(1))).toBe('qtest/timeout');
    const second = qtest.readl(2);
    send('OK 0x1');
    send('OK 0x2');
    expect(await second).toBe(2);
  });

  it('carries the refusal of QEMU', async () => {
    const { qtest } = peer((_, send) => send('FAIL Unknown command'));
    await expect(qtest.clockStep()).rejects.toMatchObject({
      code: 'qtest/command',
      evidence: ['FAIL Unknown command'],
    });
  });

  it('names the command that QEMU died in, and blames whom it was told to', async () => {
    const { qtest } = peer((_, __, stream) => stream.end(), { blame: 'submission' });
    const [first, second] = await Promise.allSettled([qtest.readl(0x1000), qtest.readl(0x1004)]);
    expect(first).toMatchObject({ reason: { code: 'qtest/closed', blame: 'submission' } });
    expect(String((first as PromiseRejectedResult).reason)).toContain('readl 0x1000');
    expect(second).toMatchObject({ reason: { code: 'qtest/closed' } });
    expect(await codeOf(qtest.readl(0))).toBe('qtest/closed');
  });

  it('ends every command in flight by its signal', async () => {
    const abort = new AbortController();
    const { qtest } = peer(() => {}, { signal: abort.signal });
    const call = codeOf(qtest.readl(0));
    abort.abort();
    expect(await call).toBe('interrupted');
    expect(await codeOf(qtest.readl(0))).toBe('interrupted');
  });

  it.each(['HELLO', 'OK not-a-number', 'IRQ sideways 3', 'IRQ raise x'])(
    'ends with protocol on %s',
    async (line) => {
      const { qtest } = peer((_, send) => send(line));
      expect(await codeOf(qtest.readl(0))).toBe('qtest/protocol');
    },
  );
});
