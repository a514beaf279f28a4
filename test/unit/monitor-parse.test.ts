import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { flattenPci, parseUsernet } from '../../src/monitor/parse.js';
import type { PciDeviceInfo } from '../../src/monitor/types.js';

describe('parseUsernet', () => {
  it('lists the forwarded ports and nothing else', () => {
    const text = [
      'Hub -1 (n0):',
      '  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ',
      '  TCP[ESTABLISHED]   14       127.0.0.1 34097       10.0.2.15    22     0     0',
      '  TCP[HOST_FORWARD]  10       127.0.0.1 34097       10.0.2.15    22     0     0',
      '  TCP[HOST_FORWARD]   3               * 43857       10.0.2.15    80     0     0',
      '  UDP[HOST_FORWARD]   9               * 48411       10.0.2.15    69     0     0',
      '  UDP[236 sec]       12       10.0.2.15 68         10.0.2.2    67     0     0',
      '  ICMP[2 sec]        13       10.0.2.15     -         8.8.8.8     -     0     0',
      '',
    ].join('\r\n');
    expect(parseUsernet(text)).toEqual([
      {
        protocol: 'tcp',
        hostAddress: '127.0.0.1',
        hostPort: 34097,
        guestAddress: '10.0.2.15',
        guestPort: 22,
      },
      { protocol: 'tcp', hostAddress: '*', hostPort: 43857, guestAddress: '10.0.2.15', guestPort: 80 },
      { protocol: 'udp', hostAddress: '*', hostPort: 48411, guestAddress: '10.0.2.15', guestPort: 69 },
    ]);
  });

  it('gives nothing for other text and never throws', () => {
    expect(parseUsernet('User networking is not available\r\n')).toEqual([]);
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => Array.isArray(parseUsernet(text))));
  });
});

describe('flattenPci', () => {
  const device = (slot: number, rest: Partial<PciDeviceInfo> = {}): PciDeviceInfo => ({
    bus: 0,
    slot,
    function: 0,
    class_info: { class: 255 },
    id: { vendor: 0x1234, device: slot },
    irq_pin: 0,
    qdev_id: '',
    regions: [],
    ...rest,
  });

  it('puts the devices behind a bridge after it and keeps their numbers', () => {
    const inner = device(7, { bus: 1, qdev_id: 'inner' });
    const bridge = device(3, { pci_bridge: { bus: {}, devices: [inner] } });
    const flat = flattenPci([{ bus: 0, devices: [device(1), bridge, device(4)] }]);
    expect(flat.map(({ bus, slot, id }) => [bus, slot, id])).toEqual([
      [0, 1, ''],
      [0, 3, ''],
      [1, 7, 'inner'],
      [0, 4, ''],
    ]);
  });

  it('tells an address from none', () => {
    const regions = [
      {
        bar: 0,
        type: 'memory' as const,
        address: 0xfebf1000,
        size: 4096,
        prefetch: false,
        mem_type_64: false,
      },
      { bar: 1, type: 'io' as const, address: -1, size: 64 },
    ];
    expect(flattenPci([{ bus: 0, devices: [device(4, { regions })] }])[0]?.regions).toEqual([
      { bar: 0, type: 'memory', address: 0xfebf1000, size: 4096, prefetch: false, wide: false },
      { bar: 1, type: 'io', address: undefined, size: 64, prefetch: false, wide: false },
    ]);
  });
});
