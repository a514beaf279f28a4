import { describe, expect, test } from 'vitest';
import { LabError } from '../../src/errors.js';
import { kernelCommandLine, qemuArguments } from '../../src/machine/arguments.js';
import { loadProfile, profileNames } from '../../src/machine/profiles.js';
import type { MachineSpec } from '../../src/machine/spec.js';

const files = { dir: '/state/m', sockets: '/run/s' };

function spec(profile: string, more: Partial<MachineSpec> = {}): MachineSpec {
  return {
    name: 'm',
    profile: loadProfile(profile),
    qemu: { binary: '/q/qemu-system-x86_64', version: '10.0.13', dataDirs: ['/q/share', '/q/more'] },
    kernel: '/k/vmlinux',
    disk: '/state/m/disk.qcow2',
    accelerator: 'tcg',
    memoryMiB: 1024,
    devices: ['my_rng'],
    net: { kind: 'user', sshPort: 0 },
    firmwareFiles: { host_key: '/state/m/host_key' },
    ...more,
  };
}

/** The values of one option, in order. */
function values(args: readonly string[], option: string): string[] {
  return args.flatMap((arg, i) => (arg === option ? [args[i + 1] ?? ''] : []));
}

describe('qemuArguments', () => {
  test('course: e1000, then the lab’s device, and the disk is no PCI device', () => {
    const args = qemuArguments(spec('course'), files);
    expect(values(args, '-device')).toEqual([
      expect.stringMatching(/^e1000,netdev=net0/),
      expect.stringMatching(/^ide-hd,/),
      'my_rng',
    ]);
    expect(values(args, '-vga')).toEqual(['std']);
    expect(values(args, '-global')).toEqual(['i8042.kbd-throttle=on']);
  });

  test('moved: one PCI device comes before the lab’s', () => {
    const devices = values(qemuArguments(spec('moved'), files), '-device');
    expect(devices.indexOf('virtio-serial-pci')).toBe(devices.indexOf('my_rng') - 1);
  });

  test('fast: virtio, and the disk after the lab’s device', () => {
    const devices = values(qemuArguments(spec('fast'), files), '-device');
    expect(devices[0]).toMatch(/^virtio-net-pci/);
    expect(devices.findIndex((device) => device.startsWith('virtio-blk'))).toBeGreaterThan(
      devices.indexOf('my_rng'),
    );
  });

  test('TCG has SMAP through -cpu max; KVM uses the host’s CPU', () => {
    expect(values(qemuArguments(spec('course'), files), '-cpu')).toEqual(['max,erms=off,fsrm=off']);
    const kvm = qemuArguments(spec('course', { accelerator: 'kvm' }), files);
    expect([values(kvm, '-accel'), values(kvm, '-cpu')]).toEqual([['kvm'], ['host']]);
  });

  test('forwards the asked port of the loopback address only', () => {
    expect(
      values(qemuArguments(spec('course', { net: { kind: 'user', sshPort: 1022 } }), files), '-netdev'),
    ).toEqual(['user,id=net0,hostfwd=tcp:127.0.0.1:1022-:22']);
  });

  test('doubles commas in paths', () => {
    const args = qemuArguments(spec('course', { disk: '/a,b/disk.qcow2' }), files);
    expect(values(args, '-drive')[0]).toContain('file=/a,,b/disk.qcow2,');
  });

  test('is a pure function of its spec', () => {
    expect(qemuArguments(spec('moved'), files)).toEqual(qemuArguments(spec('moved'), files));
  });
});

describe('kernelCommandLine', () => {
  test('names the root disk of the topology', () => {
    expect(kernelCommandLine(spec('course'))).toContain('root=/dev/sda ');
    expect(kernelCommandLine(spec('fast'))).toContain('root=/dev/vda ');
  });
});

describe('profiles', () => {
  test('all files of vm/profiles are valid', () => {
    expect(profileNames()).toEqual(expect.arrayContaining(['course', 'fast', 'moved']));
    for (const name of profileNames()) expect(loadProfile(name).name).toBe(name);
  });

  test('an unknown one is answered with the nearest', () => {
    expect(() => loadProfile('corse')).toThrow(LabError);
    try {
      loadProfile('corse');
    } catch (error) {
      expect((error as LabError).next).toContain('course');
      expect((error as LabError).blame).toBe('user');
    }
  });
});
