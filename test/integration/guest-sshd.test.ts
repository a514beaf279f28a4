import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { Guest } from '../../src/guest/guest.js';
import { type KeyPairFiles, loadOrMakeKeyPair } from '../../src/guest/keys.js';
import { get, put } from '../../src/guest/transfer.js';
import { scaled } from '../../src/timeouts.js';

/** One real SSH server per connection, as inetd starts it: it needs no port of its own and no privileges. */
const SSHD = '/usr/sbin/sshd';

function missing(): string | undefined {
  try {
    execFileSync('test', ['-x', SSHD]);
    execFileSync('test', ['-d', '/run/sshd']);
    return undefined;
  } catch {
    return 'sshd of openssh-server, or its folder /run/sshd, is not there';
  }
}

async function configure(dir: string, host: KeyPairFiles, user: KeyPairFiles): Promise<string> {
  const config = join(dir, 'sshd_config');
  await writeFile(join(dir, 'authorized_keys'), `${user.publicKey}\n`, { mode: 0o600 });
  const lines = [
    `HostKey ${host.path}`,
    `AuthorizedKeysFile ${join(dir, 'authorized_keys')}`,
    'StrictModes no',
    'UsePAM no',
    'PermitRootLogin prohibit-password',
    'PrintMotd no',
    'PrintLastLog no',
  ];
  await writeFile(config, `${lines.join('\n')}\n`);
  return config;
}

async function listen(onConnection: (socket: Socket) => void) {
  const server = createServer({ noDelay: true }, onConnection);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return { port: address.port, close: () => new Promise<void>((resolve) => server.close(() => resolve())) };
}

const reason = missing();

describe.skipIf(reason !== undefined)(`OpenSSH sshd${reason === undefined ? '' : `: ${reason}`}`, () => {
  async function withGuest(
    body: (guest: Guest, dir: string, cut: () => void) => Promise<void>,
  ): Promise<void> {
    const dir = await mkdtemp(join(tmpdir(), 'lab-sshd-'));
    const host = await loadOrMakeKeyPair(dir, 'host');
    const user = await loadOrMakeKeyPair(dir, 'user');
    const config = await configure(dir, host, user);
    const running: [ChildProcess, Socket][] = [];
    const server = await listen((socket) => {
      const sshd = spawn(SSHD, ['-i', '-e', '-f', config], { stdio: [socket, socket, 'ignore'] });
      running.push([sshd, socket]);
    });
    const cut = () => {
      for (const [sshd] of running) sshd.kill('SIGKILL');
      for (const [, socket] of running) socket.destroy();
    };
    try {
      await using guest = await Guest.connect({
        host: '127.0.0.1',
        port: server.port,
        user: userInfo().username,
        privateKey: user.privateKey,
        hostKey: host.publicKey,
        timeouts: scaled(1),
      });
      await body(guest, dir, cut);
    } finally {
      cut();
      await server.close();
      await rm(dir, { recursive: true });
    }
  }

  test('commands, their codes, signals, deadlines and twelve at once', async () => {
    await withGuest(async (guest) => {
      expect(await guest.exec('cat; exit 3', { input: 'x' })).toMatchObject({ exitCode: 3, stdout: 'x' });
      expect(await guest.exec('kill -KILL $$')).toMatchObject({ exitCode: 137, signal: 'SIGKILL' });
      const error = await guest.exec('echo $$; sleep 1000; :', { timeout: 500 }).catch((e) => e);
      expect(error.code).toBe('guest/timeout');
      const gone = `kill -0 ${error.evidence[0]} 2>/dev/null`;
      await expect.poll(async () => (await guest.exec(gone)).exitCode).not.toBe(0);
      const many = await Promise.all(
        Array.from({ length: 12 }, (_, i) => guest.exec(`sleep 0.1; exit ${i}`)),
      );
      expect(many.map(({ exitCode }) => exitCode)).toEqual(many.map((_, i) => i));
    });
  });

  test('a terminal of the right size', async () => {
    await withGuest(async (guest) => {
      const stdout = new PassThrough();
      let text = '';
      stdout.on('data', (chunk) => {
        text += chunk;
      });
      const stdin = new PassThrough();
      const code = await guest.shell({ stdin, stdout, rows: 31, cols: 97, command: 'stty size; exit 5' });
      expect(code).toBe(5);
      expect(text.trim()).toBe('31 97');
    });
  });

  test('files there and back', async () => {
    await withGuest(async (guest, dir) => {
      await mkdir(join(dir, 'there'));
      const data = Buffer.alloc(5_000_000, 'content ');
      await put(guest, [{ data, to: join(dir, "there/it's a file"), mode: 0o755 }]);
      const { path } = await get(guest, join(dir, "there/it's a file"), join(dir, 'back'));
      expect((await readFile(path)).equals(data)).toBe(true);
    });
  });

  test('it dies in the middle of a command', async () => {
    await withGuest(async (guest, _dir, cut) => {
      const process = await guest.spawn('echo up; sleep 5');
      expect((await process.lines().next()).value).toBe('up');
      const end = process.wait().catch((error) => error);
      cut();
      expect(await end).toMatchObject({ code: 'guest/lost' });
    });
  });
});
