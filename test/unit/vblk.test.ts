import { describe, expect, test } from 'vitest';
import { attachWords, gatewayOf } from '../../src/labs/vblk/attach.js';
import { contents, gated, inBlocksOf, onUnmount } from '../../src/labs/vblk/devices.js';
import { ServerEvents } from '../../src/labs/vblk/events.js';
import { parseProbe } from '../../src/labs/vblk/served.js';
import { RamDisk } from '../../src/nbd/examples/ramdisk.js';

const signal = new AbortController().signal;

describe('attaching', () => {
  test('the host is the gateway of the default route', () => {
    const head = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT';
    const own = 'eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0';
    const byDefault = 'eth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0';
    expect(gatewayOf([head, own, byDefault].join('\n'))).toBe('10.0.2.2');
    expect(gatewayOf([head, own].join('\n'))).toBeUndefined();
  });

  test.each([
    [
      'nbd-client' as const,
      'disk',
      'nbd-client 10.0.2.2 10809 /dev/nbd1 -b 512 -t 30 -N disk',
      'nbd-client 10.0.2.2 10809 /dev/nbd1 -b 512 -t 30',
    ],
    [
      'vblk-attach' as const,
      'disk',
      'vblk-attach attach 10.0.2.2 10809 disk /dev/nbd1 -b 512 -t 30',
      'vblk-attach attach 10.0.2.2 10809  /dev/nbd1 -b 512 -t 30',
    ],
  ])('%s is told the export, if it has a name', (client, name, named, unnamed) => {
    const host = { address: '10.0.2.2', listen: '127.0.0.1', remote: false, client };
    const options = { host, port: 10809, node: '/dev/nbd1' };
    expect(attachWords(client, { ...options, export: name }).join(' ')).toBe(named);
    expect(attachWords(client, { ...options, export: '' }).join(' ')).toBe(unnamed);
  });

  test('an event of the server is seen whether it came before or comes later', async () => {
    const events = new ServerEvents();
    const limits = { timeout: 5000, signal };
    events.add({ type: 'connected', connection: 1 });
    await events.until('connected', 1, limits);
    const second = events.until('connected', 2, limits);
    events.add({ type: 'connected', connection: 2 });
    await second;
    events.add({ type: 'ended', connection: 1, graceful: false });
    expect(events.ends).toEqual([false]);
    await expect(events.until('unmounted', 1, { timeout: 1, signal })).rejects.toMatchObject({
      code: 'vblk/no-event',
    });
  });
});

describe('what the probe prints', () => {
  test('pieces that failed, and how many there were', () => {
    expect(parseProbe('5000 EIO\n1 of 8192 failed\n')).toEqual({
      failed: [{ piece: 5000, error: 'EIO' }],
      count: 8192,
    });
    expect(parseProbe('0 of 3 failed\n')).toEqual({ failed: [], count: 3 });
  });

  test.each(['', '5000 EIO\n', '2 of 9 failed\n'])('%j is not its whole output', (output) => {
    expect(() => parseProbe(output)).toThrow(/cut short/);
  });
});

describe('devices of the checks', () => {
  test('a device in larger blocks has the same bytes', async () => {
    const disk = new RamDisk(8192);
    disk.write(4096, Buffer.from('here'));
    const large = inBlocksOf(4096, disk);
    expect([large.blockSize(), large.blocks()]).toEqual([4096, 2]);
    expect((await contents(large, 4096, 4)).toString()).toBe('here');
  });

  test('unmounting is told, and happens', async () => {
    const calls: string[] = [];
    const inner = Object.assign(new RamDisk(512), { unmount: () => void calls.push('device') });
    await onUnmount(inner, () => calls.push('told')).unmount?.();
    expect(calls).toEqual(['told', 'device']);
  });

  test('only reads of the gated byte wait', async () => {
    let open: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const device = gated(new RamDisk(4096), 512, gate);
    let held = true;
    const waiting = Promise.resolve(device.read(0, Buffer.alloc(1024))).then(() => {
      held = false;
    });
    await device.read(1024, Buffer.alloc(512));
    await device.write?.(512, Buffer.alloc(512));
    expect(held).toBe(true);
    open();
    await waiting;
    expect(held).toBe(false);
  });
});
