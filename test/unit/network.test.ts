import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { nameServers } from '../../src/lab/network.js';
import { kernelCommandLine, qemuArguments } from '../../src/machine/arguments.js';
import { type Network, OUR_TAP } from '../../src/machine/network.js';
import { loadProfile, profileNames } from '../../src/machine/profiles.js';
import { readRecord } from '../../src/machine/record.js';
import type { MachineSpec, Sealed } from '../../src/machine/spec.js';
import { rules } from '../../src/machine/tap.js';
import { conflictingRoutes, foreignDrops } from '../../src/machine/tap-conflicts.js';
import { useTempFolder } from '../support/temp.js';

const TAP: Network = { kind: 'tap', device: OUR_TAP, ours: true };
const USER: Network = { kind: 'user', sshPort: 0 };

function spec(net: Network, profile = 'course', sealed?: Sealed): MachineSpec {
  return {
    name: 'm',
    profile: loadProfile(profile),
    qemu: { binary: '/q/qemu', version: '10.0.13', dataDirs: [] },
    kernel: '/k/vmlinux',
    disk: '/state/m/disk.qcow2',
    accelerator: 'tcg',
    memoryMiB: 1024,
    devices: [],
    net,
    firmwareFiles: {},
    ...(sealed === undefined ? {} : { sealed }),
  };
}

function netdevOf(machine: MachineSpec): string | undefined {
  const args = qemuArguments(machine, { dir: '/d', sockets: '/s' });
  return args[args.indexOf('-netdev') + 1];
}

describe('arguments', () => {
  test('QEMU creates the tap device, which then goes with it, and runs no script', () => {
    expect(netdevOf(spec(TAP))).toBe('tap,id=net0,ifname=lab-tap,script=no,downscript=no');
  });

  test('the topology is the same as in user mode', () => {
    const devices = (net: Network) =>
      qemuArguments(spec(net), { dir: '/d', sockets: '/s' }).filter((_, i, all) => all[i - 1] === '-device');
    expect(devices(TAP)).toEqual(devices(USER));
  });

  test('a sealed machine never leaves user mode', () => {
    const sealed: Sealed = { wrap: [], relays: 1, sshPort: 2222, arguments: [] };
    expect(netdevOf(spec(USER, 'fast', sealed))).toBe(
      'user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:2222-:22',
    );
  });

  test.each(profileNames())('%s: kernel and guest get the address of their network', (profile) => {
    const words = (net: Network) =>
      kernelCommandLine(spec(net, profile))
        .split(' ')
        .filter((word) => /^(ip|lab\.ip|lab\.gw)=/.test(word));
    expect(words(USER)).toEqual([
      'lab.ip=10.0.2.15/24',
      'lab.gw=10.0.2.2',
      'ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:off',
    ]);
    expect(words(TAP)).toEqual([
      'lab.ip=10.0.2.100/24',
      'lab.gw=10.0.2.1',
      'ip=10.0.2.100::10.0.2.1:255.255.255.0::eth0:off',
    ]);
  });
});

describe('conflictingRoutes', () => {
  const conflicts = (...routes: object[]) => conflictingRoutes(routes, '10.0.2.0/24');

  test.each([
    [{ dst: '10.0.2.0/24', dev: 'eth0' }, '10.0.2.0/24 dev eth0'],
    [{ dst: '10.0.0.0/8', dev: 'tun0' }, '10.0.0.0/8 dev tun0'],
    [{ dst: '10.0.2.128/25', dev: 'eth0' }, '10.0.2.128/25 dev eth0'],
    [{ dst: '10.0.2.15', dev: 'eth0', type: 'local' }, 'local 10.0.2.15 dev eth0'],
    [{ dst: '10.0.0.0/16', type: 'blackhole' }, 'blackhole 10.0.0.0/16'],
  ])('%j is one', (route, text) => {
    expect(conflicts(route)).toEqual([text]);
  });

  test.each([
    { dst: 'default', dev: 'eth0' },
    { dst: '0.0.0.0/1', dev: 'vpn' },
    { dst: '128.0.0.0/1', dev: 'vpn' },
    { dst: '10.0.3.0/24', dev: 'eth0' },
    { dst: '10.0.1.255', dev: 'eth0', type: 'local' },
    { dst: '10.0.2.255', dev: 'eth0', type: 'broadcast' },
    { dst: '192.168.1.0/24', dev: 'eth0' },
  ])('%j is none', (route) => {
    expect(conflicts(route)).toEqual([]);
  });
});

describe('nft', () => {
  test('the rules say what was before, and let only the guest through where nothing went through', () => {
    const off = rules({ name: 'a "b"', pid: 7 }, '0');
    expect(off).toContain('comment "machine a__b_, QEMU 7, ip_forward was 0"');
    expect(off).toContain('hook forward priority filter; policy drop;');
    expect(rules({ name: 'm', pid: 7 }, '1')).toContain('hook forward priority filter; policy accept;');
  });

  test('a comment fits into the 128 bytes that nft keeps', () => {
    const comment = /comment "(.*)"/.exec(rules({ name: 'x'.repeat(300), pid: 4_194_304 }, '1'))?.[1] ?? '';
    expect(comment).toContain('ip_forward was 1');
    expect(comment.length).toBeLessThan(128);
  });

  test('chains of others that drop what is forwarded are named', () => {
    const chain = (table: string, hook: string, policy: string) => ({
      chain: { family: 'ip', table, name: 'FORWARD', handle: 1, type: 'filter', hook, prio: 0, policy },
    });
    const listing = {
      nftables: [
        { metainfo: { version: '1.0.6' } },
        chain('filter', 'forward', 'drop'),
        chain('filter', 'input', 'drop'),
        chain('other', 'forward', 'accept'),
        chain(OUR_TAP, 'forward', 'drop'),
        { chain: { family: 'ip', table: 'filter', name: 'DOCKER', handle: 2 } },
      ],
    };
    expect(foreignDrops(listing)).toEqual(['the chain FORWARD of the nft table ip filter drops by default']);
  });
});

test('the guest is told of name servers that it can reach', () => {
  const text =
    '# made by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nnameserver ::1\nsearch example.org\n';
  expect(nameServers(text)).toEqual(['192.0.2.53']);
});

describe('records', () => {
  const temp = useTempFolder();
  const before = process.env.LAB_STATE;
  beforeEach(() => {
    process.env.LAB_STATE = temp.path;
  });
  afterEach(() => {
    if (before === undefined) delete process.env.LAB_STATE;
    else process.env.LAB_STATE = before;
  });

  test('one that was written before there were tap devices means user mode', () => {
    const old = {
      ...{ format: 1, lab: 'my-rng', name: 'old', profile: 'course', variant: 'module', accelerator: 'tcg' },
      ...{ stage: 'running', pid: 1, startTime: '1', bootId: 'b', sshPort: 2222, sockets: '/s' },
      ...{ machineDigest: 'm', deployDigest: 'd', made: {} },
    };
    mkdirSync(join(temp.path, 'machines/old'), { recursive: true });
    writeFileSync(join(temp.path, 'machines/old/machine.json'), JSON.stringify(old));
    const record = readRecord('old');
    expect(record).toMatchObject({ sshHost: '127.0.0.1', sshPort: 2222 });
    expect(record?.tap).toBeUndefined();
  });
});
