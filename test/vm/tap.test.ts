import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { nameServers } from '../../src/lab/network.js';
import { namespaceProblem, useNetNamespace, wire } from '../support/net-namespace.js';
import { finished, noQemuLeft, qemuProcesses, root, said, useCli } from './cli.js';

/** Tests of this file run in order and build on each other. */
const problem = namespaceProblem();
const servers = nameServers(readFileSync('/etc/resolv.conf', 'utf8'));
const MACHINE = ['--name', 'tap', '--profile', 'fast'];
const TAP = [...MACHINE, '--net', 'tap'];

describe.skipIf(problem !== undefined)(
  `a machine on a tap device${problem === undefined ? '' : ` (${problem})`}`,
  () => {
    const network = useNetNamespace();
    let rights: readonly string[] = [];
    const { lab, start, state } = useCli(() => [...network.enter(), ...rights]);
    const tools = (...command: string[]) => {
      const config = join(state(), 'machines/tap/ssh_config');
      const [program = '', ...args] = [
        ...network.enter(),
        command[0] ?? '',
        '-F',
        config,
        ...command.slice(1),
      ];
      return finished(spawn(program, args));
    };
    let before = '';

    beforeAll(async () => {
      const warm = spawn(join(root, 'lab'), ['up', ...MACHINE], {
        env: { ...process.env, LAB_STATE: state(), CI: 'true' },
      });
      expect((await finished(warm)).code).toBe(0); // fills the caches: inside there is no way out
      expect((await lab('down', 'tap')).code).toBe(0);
      before = network.snapshot();
    });

    afterEach(() => {
      rights = [];
    });

    const killQemu = async () => {
      process.kill(qemuProcesses(state())[0] ?? 0, 'SIGKILL');
      expect(await noQemuLeft(state())).toBe(true);
    };

    const withoutRights = () => {
      rights = ['setpriv', '--inh-caps=-all', '--bounding-set=-net_admin', '--'];
    };

    test('up says what it does to the host', async () => {
      const { code, stdout, stderr } = await lab('up', ...TAP, '--json');
      expect(code, stderr).toBe(0);
      expect(stderr).toMatch(
        /Network: .* device lab-tap with 10\.0\.2\.1\/24, NAT for 10\.0\.2\.0\/24 .*, ip_forward 0 → 1$/m,
      );
      expect(JSON.parse(stdout)).toMatchObject({
        ssh: { host: '10.0.2.100', port: 22 },
        tap: { ours: true },
      });
      expect((await lab('status')).stdout).toContain('guest 10.0.2.100');
    });

    test('up again finds it running', async () => {
      const { code, stdout } = await lab('up', ...TAP, '--json');
      expect(code).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ started: false });
    });

    test('ssh and scp of the system reach the guest at its own address', async () => {
      const data = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251));
      await writeFile(join(state(), 'there'), data);
      expect(await tools('scp', join(state(), 'there'), 'tap:/tmp/file')).toMatchObject({ code: 0 });
      expect(await tools('scp', 'tap:/tmp/file', join(state(), 'back'))).toMatchObject({ code: 0 });
      expect((await readFile(join(state(), 'back'))).equals(data)).toBe(true);
      const { stdout } = await tools('ssh', 'tap', 'echo $SSH_CONNECTION');
      expect(stdout).toMatch(/^10\.0\.2\.1 \d+ 10\.0\.2\.100 22$/m);
    });

    test('exec and cp go the same way', async () => {
      expect(await lab('exec', '--', 'cat', '/proc/sys/kernel/hostname')).toMatchObject({ stdout: 'tap\n' });
      expect(await lab('cp', ':/tmp/file', join(state(), 'copy'))).toMatchObject({ code: 0 });
    });

    test.skipIf(servers.length === 0)('the guest asks the name servers of the host', async () => {
      const { stdout } = await lab('exec', '--', 'cat', '/etc/resolv.conf');
      expect(nameServers(stdout)).toEqual(servers);
    });

    test('the world outside sees the address of the host, not that of the guest', async () => {
      const seen = await lab('exec', '--', 'sh', '-c', `nc ${wire.outside} ${wire.port} </dev/null`);
      expect(seen).toMatchObject({ code: 0, stdout: `${wire.host}\n` });
      expect(network.run('nft', 'list', 'table', 'ip', 'lab-tap')).toContain('policy drop');
    });

    test('a second machine is refused, and told who has the address', async () => {
      const { code, stderr } = await lab('up', '--name', 'other', '--profile', 'fast', '--net', 'tap');
      expect(code).toBe(2);
      expect(stderr).toContain('by: machine tap');
      expect(stderr).not.toContain('QEMU source');
    });

    test('down leaves nothing', async () => {
      expect((await lab('down', 'tap')).code).toBe(0);
      expect(network.snapshot()).toBe(before);
    });

    test('forwarding that was on stays on, and our rules keep the world outside from the guest', async () => {
      network.run('sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward');
      const forwarding = network.snapshot();
      expect((await lab('up', ...TAP)).code).toBe(0);
      expect(network.run('nft', 'list', 'table', 'ip', 'lab-tap')).not.toContain('policy drop');
      expect(network.reached('10.0.2.100', 22)).toBe(false);
      network.run('nft', 'flush', 'chain', 'ip', 'lab-tap', 'forward');
      expect(network.reached('10.0.2.100', 22)).toBe(true);
      expect((await lab('down', 'tap', '--force')).code).toBe(0);
      expect(network.snapshot()).toBe(forwarding);
      network.run('sh', '-c', 'echo 0 >/proc/sys/net/ipv4/ip_forward');
    });

    test.each(['status', 'down', 'down tap'])('what a killed QEMU left is undone by %s', async (command) => {
      expect((await lab('up', ...TAP)).code).toBe(0);
      await killQemu();
      expect(network.snapshot()).not.toBe(before);
      expect((await lab(...command.split(' '))).code).toBe(0);
      expect(network.snapshot()).toBe(before);
    });

    test('who cannot undo it is told so, and nothing is forgotten', async () => {
      expect((await lab('up', ...TAP)).code).toBe(0);
      await killQemu();
      withoutRights();
      const { code, stdout, stderr } = await lab('status');
      expect([code, stdout]).toEqual([0, expect.stringContaining('no machine is running')]);
      expect(stderr).toContain('sudo -E');
      expect((await lab('down', 'tap')).code).toBe(2);
      rights = [];
      expect(await lab('down', 'tap')).toMatchObject({ code: 0, stderr: '' });
      expect(network.snapshot()).toBe(before);
    });

    test('up after a killed QEMU starts anew, whoever had it', async () => {
      expect((await lab('up', ...TAP)).code).toBe(0);
      await killQemu();
      const other = await lab('up', '--name', 'other', '--profile', 'fast', '--net', 'tap');
      expect(other.code, other.stderr).toBe(0);
      const held = network.snapshot();
      expect((await lab('status')).stdout).toContain('other is running');
      expect(network.snapshot()).toBe(held);
    });

    test('up without it starts the machine anew and takes the network down', async () => {
      const { code, stdout } = await lab('up', '--name', 'other', '--profile', 'fast', '--json');
      expect(code).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ started: true, ssh: { host: '127.0.0.1' } });
      expect(network.snapshot()).toBe(before);
      expect((await lab('down', 'other')).code).toBe(0);
    });

    test.each(['SIGINT', 'SIGKILL'] as const)('%s while the guest boots', async (signal) => {
      const child = start('up', ...TAP);
      const end = finished(child);
      await said(child, 'Boot to SSH');
      expect(network.snapshot()).not.toBe(before);
      child.kill(signal);
      await end;
      expect(await noQemuLeft(state())).toBe(true);
      if (signal === 'SIGKILL') expect((await lab('status')).code).toBe(0);
      expect(network.snapshot()).toBe(before);
    });

    test('test starts a machine of its own, names rules in its way, and leaves nothing', async () => {
      const drop = '{ type filter hook forward priority 0; policy drop; }';
      network.run('nft', `add table ip strict; add chain ip strict f ${drop}`);
      const strict = network.snapshot();
      const { code, stderr } = await lab('test', '--net', 'tap', '--profile', 'fast', '--filter', 'boot');
      expect(code, stderr).toBe(0);
      expect(stderr).toContain('the chain f of the nft table ip strict drops by default');
      expect(network.snapshot()).toBe(strict);
      network.run('nft', 'delete', 'table', 'ip', 'strict');
    });

    test('addresses that lead elsewhere are not taken', async () => {
      network.run('ip', 'address', 'add', '10.0.2.15/24', 'dev', 'wire0');
      const { code, stderr } = await lab('up', ...TAP);
      network.run('ip', 'address', 'del', '10.0.2.15/24', 'dev', 'wire0');
      expect(code).toBe(2);
      expect(stderr).toContain('route: 10.0.2.0/24 dev wire0');
      expect(network.snapshot()).toBe(before);
    });

    test('a device of the same name is not taken over', async () => {
      network.run('ip', 'tuntap', 'add', 'dev', 'lab-tap', 'mode', 'tap');
      const { code, stderr } = await lab('up', ...TAP);
      network.run('ip', 'link', 'del', 'lab-tap');
      expect(code).toBe(2);
      expect(stderr).toContain('device: lab-tap');
    });

    test('of two at once one gets it, and keeps it', async () => {
      const names = ['one', 'two'];
      const ups = await Promise.all(
        names.map((name) => lab('up', '--name', name, '--profile', 'fast', '--net', 'tap')),
      );
      expect(ups.map(({ code }) => code).toSorted()).toEqual([0, 2]);
      const winner = names[ups.findIndex(({ code }) => code === 0)] ?? '';
      expect((await lab('exec', '--', 'cat', '/proc/sys/kernel/hostname')).stdout).toBe(`${winner}\n`);
      expect((await lab('down', winner)).code).toBe(0);
      expect(network.snapshot()).toBe(before);
    });

    test('who may not change the network is told so before any work', async () => {
      withoutRights();
      const { code, stderr } = await lab('up', ...TAP);
      expect(code).toBe(2);
      expect(stderr).toContain('CAP_NET_ADMIN');
      expect(stderr).toContain('--tap-device');
      expect(stderr).not.toContain('QEMU source');
    });

    test('a device that an administrator made is used without rights, and stays', async () => {
      withoutRights();
      const named = [...TAP, '--tap-device', 'lab0'];
      expect((await lab('up', ...named)).stderr).toContain('ip tuntap add dev lab0 mode tap');
      network.run('ip', 'tuntap', 'add', 'dev', 'lab0', 'mode', 'tap', 'user', '0');
      network.run('ip', 'address', 'add', '10.0.2.1/24', 'dev', 'lab0');
      network.run('ip', 'link', 'set', 'dev', 'lab0', 'up');
      const made = network.run('nft', 'list', 'ruleset');
      const { code, stderr } = await lab('up', ...named);
      expect(code, stderr).toBe(0);
      expect(await tools('ssh', 'tap', 'true')).toMatchObject({ code: 0 });
      expect((await lab('down', 'tap')).code).toBe(0);
      expect(network.run('ip', '-br', 'address', 'show', 'dev', 'lab0')).toContain('10.0.2.1/24');
      expect(network.run('nft', 'list', 'ruleset')).toBe(made);
      network.run('ip', 'link', 'del', 'lab0');
    });

    test('--port has no meaning with it', async () => {
      const { code, stderr } = await lab('up', ...TAP, '--port', '2222');
      expect(code).toBe(2);
      expect(stderr).toContain('leave --port out');
    });
  },
);
