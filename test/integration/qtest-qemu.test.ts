import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LabError } from '../../src/errors.js';
import { Monitor } from '../../src/monitor/monitor.js';
import { flattenPci, parseUsernet } from '../../src/monitor/parse.js';
import { enable, findDevice, listFunctions, programBar, sizeBar, sizeBars } from '../../src/qtest/pci.js';
import { QTest } from '../../src/qtest/qtest.js';
import { scaled } from '../../src/timeouts.js';

const binary = process.env.LAB_TEST_QEMU ?? 'qemu-system-x86_64';
const missing = probe('tcg') ? undefined : `${binary} cannot be run`;
const pureQtest = missing === undefined && probe('qtest'); // `-accel help` does not list it
const timeouts = scaled(1);
/** Where distributions keep the firmware that a QEMU built from their sources does not carry. */
const firmware = ['/usr/share/seabios', '/usr/share/qemu'].flatMap((path) => ['-L', path]);

/** QEMU's educational device: register 0 identifies it, register 4 gives back the complement of what was written. */
const EDU = { vendor: 0x1234, device: 0x11e8, address: 0xe0000000n, id: 0x010000ed };

/** Whether this QEMU starts and quits with the accelerator. */
function probe(accel: string): boolean {
  const args = ['-machine', 'none', '-accel', accel, '-display', 'none', '-nodefaults', '-qmp', 'stdio'];
  const input = '{"execute":"qmp_capabilities"}{"execute":"quit"}';
  return (
    spawnSync(binary, args, { input, timeout: 10_000, stdio: ['pipe', 'ignore', 'ignore'] }).status === 0
  );
}

function start(): { child: ChildProcess; qtest: Duplex; qmp: Duplex } {
  const args = [
    '-machine',
    'pc',
    '-accel',
    pureQtest ? 'qtest' : 'tcg',
    '-S',
    '-display',
    'none',
    '-nodefaults',
  ];
  args.push('-netdev', 'user,id=n0,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=udp:127.0.0.1:0-:69');
  args.push(
    '-device',
    'e1000,netdev=n0,romfile=',
    '-device',
    'edu',
    '-device',
    'virtio-rng-pci',
    ...firmware,
  );
  args.push('-chardev', 'socket,id=qtest,fd=3', '-qtest', 'chardev:qtest', '-qtest-log', 'none');
  args.push('-chardev', 'socket,id=mon,fd=4', '-mon', 'chardev=mon,mode=control');
  const child = spawn(binary, args, { stdio: ['ignore', 'ignore', 'inherit', 'pipe', 'pipe'] });
  return { child, qtest: child.stdio[3] as Duplex, qmp: child.stdio[4] as Duplex };
}

describe.skipIf(missing !== undefined)(`a real QEMU${missing === undefined ? '' : ` (${missing})`}`, () => {
  let qemu: ReturnType<typeof start>;
  let qtest: QTest;
  let monitor: Monitor;

  beforeAll(async () => {
    qemu = start();
    qtest = QTest.attach(qemu.qtest, { timeouts });
    monitor = await Monitor.attach(qemu.qmp, { timeouts });
  });
  afterAll(() => {
    qemu?.child.kill('SIGKILL');
  });

  it('tells the forwarded ports that it chose', async () => {
    const text = await monitor.execute('human-monitor-command', { 'command-line': 'info usernet' });
    const ports = parseUsernet(text);
    expect(ports.map(({ protocol, guestPort }) => `${protocol} ${guestPort}`).sort()).toEqual([
      'tcp 22',
      'udp 69',
    ]);
    expect(ports.every(({ hostPort, hostAddress }) => hostPort > 0 && hostAddress === '127.0.0.1')).toBe(
      true,
    );
  });

  it('agrees with itself on PCI: QMP and configuration space', async () => {
    const byQmp = flattenPci(await monitor.execute('query-pci')).filter(({ bus }) => bus === 0);
    const byQtest = await listFunctions(qtest);
    const identity = ({ slot, function: fn, vendor, device, classCode }: (typeof byQtest)[number]) =>
      [slot, fn, vendor, device, classCode].map((n) => n.toString(16)).join(':');
    expect(byQtest.map(identity)).toEqual(byQmp.map((device) => identity({ ...device, revision: 0 })));
  });

  it.each([
    ['e1000', 0x8086, 0x100e],
    ['edu', EDU.vendor, EDU.device],
    ['virtio-rng', 0x1af4, 0x1005],
  ])('sizes the BARs of %s as QEMU lists them', async (_, vendor, device) => {
    const found = await findDevice(qtest, vendor, device);
    const listed = flattenPci(await monitor.execute('query-pci')).find((one) => one.slot === found?.slot);
    const bars = found === undefined ? [] : await sizeBars(qtest, found);
    const shape = bars.map(({ index, type, size, prefetch, wide }) => [
      index,
      type,
      Number(size),
      prefetch,
      wide,
    ]);
    expect(shape).toEqual(
      listed?.regions
        .filter(({ bar }) => bar < 6)
        .map(({ bar, type, size, prefetch, wide }) => [bar, type, size, prefetch, wide]),
    );
    expect(shape.length).toBeGreaterThan(0);
  });

  it('maps a device and works its registers', async () => {
    const edu = await findDevice(qtest, EDU.vendor, EDU.device);
    if (edu === undefined) throw new Error('edu is not on the bus');
    const bar = await sizeBar(qtest, edu, 0);
    if (bar === undefined) throw new Error('edu has no BAR 0');
    expect(await qtest.readl(EDU.address)).not.toBe(EDU.id);
    expect(await programBar(qtest, edu, bar, EDU.address)).toBe(EDU.address);
    await enable(qtest, edu, { memory: true });
    expect(await qtest.readl(EDU.address)).toBe(EDU.id);
    await qtest.writel(EDU.address + 4n, 0x12345678);
    expect(await qtest.readl(EDU.address + 4n)).toBe(0xedcba987);
    await enable(qtest, edu, { memory: false });
    expect(await qtest.readl(EDU.address)).not.toBe(EDU.id);
    await expect(programBar(qtest, edu, bar, EDU.address + 4096n)).rejects.toMatchObject({
      code: 'qtest/argument',
    });
  });

  it('moves memory in both directions, beyond the length of one line', async () => {
    const data = Buffer.from(Uint8Array.from({ length: 600_001 }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
    await qtest.memwrite(0x100000, data);
    expect((await qtest.memread(0x100000, data.length)).equals(data)).toBe(true);
    await qtest.writeq(0x100000, 0xfedcba9876543210n);
    expect(await qtest.readq(0x100000)).toBe(0xfedcba9876543210n);
    expect(await qtest.readb(0x100007)).toBe(0xfe);
    expect(await qtest.readw(0x100000)).toBe(0x3210);
  });

  it('refuses what QEMU does not know, and goes on', async () => {
    const error = await qtest.interceptIrqs('in', '/no/such/device').catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'qtest/command', evidence: ['FAIL Unknown device'] });
    expect(await qtest.readl(0)).toBe(0);
  });

  it.skipIf(!pureQtest)('steps the virtual clock (needs -accel qtest)', async () => {
    const before = await qtest.clockStep(1);
    expect(await qtest.clockStep(1000)).toBe(before + 1000n);
  });

  it('ends both clients when it dies', async () => {
    const other = start();
    const lost = QTest.attach(other.qtest, { timeouts });
    const control = await Monitor.attach(other.qmp, { timeouts });
    const shutdown = control.nextEvent('SHUTDOWN', { timeout: 10_000 });
    await lost.readl(0);
    await control.execute('quit');
    expect((await shutdown).data.reason).toBe('host-qmp-quit');
    expect((await control.closed).code).toBe('monitor/closed');
    const error = await lost.readl(0).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(LabError);
    expect((error as LabError).code).toBe('qtest/closed');
  });
});
