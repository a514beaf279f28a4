import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Guest } from '../../src/guest/guest.js';
import { makeKeyPair } from '../../src/guest/keys.js';
import type { GuestEvent } from '../../src/guest/transcript.js';
import { scaled } from '../../src/timeouts.js';
import { type SshServer, startSshServer } from '../support/ssh-server.js';

const userKey = makeKeyPair('user');
const hostKey = makeKeyPair('host');
let server: SshServer;
let guest: Guest;
let events: GuestEvent[];
beforeEach(async () => {
  server = await startSshServer({ userKey, hostKey, maxSessions: 10 });
  events = [];
  guest = await Guest.connect({
    host: '127.0.0.1',
    port: server.port,
    user: 'root',
    privateKey: userKey.privateKey,
    hostKey: hostKey.publicKey,
    timeouts: scaled(1),
    transcript: (event) => events.push(event),
  });
});
afterEach(async () => {
  await guest.close();
  await server[Symbol.asyncDispose]();
});

/** The commands of the test server are processes of this machine; a zombie has ended. */
function runs(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

describe('exec', () => {
  test('output, error output and exit code', async () => {
    const result = await guest.exec('echo out; echo err >&2; exit 7');
    expect(result).toMatchObject({ exitCode: 7, stdout: 'out\n', stderr: 'err\n', dropped: 0 });
    expect(result).not.toHaveProperty('signal');
  });

  test('a hundred short commands in a row all report their code', async () => {
    for (let i = 0; i < 100; i += 1) expect((await guest.exec(`exit ${i}`)).exitCode).toBe(i);
  });

  test('death by a signal', async () => {
    expect(await guest.exec('kill -SEGV $$')).toMatchObject({ exitCode: 139, signal: 'SIGSEGV' });
  });

  test('input, and an end of input when there is none', async () => {
    expect((await guest.exec('cat', { input: 'a\0ü' })).stdout).toBe('a\0ü');
    expect((await guest.exec('cat')).stdout).toBe('');
    expect((await guest.exec('exit 3', { input: Buffer.alloc(8 << 20) })).exitCode).toBe(3);
  });

  test('an argument list reaches the program word for word', async () => {
    const words = [
      '',
      'two words',
      "it's",
      '"',
      '$HOME',
      '`id`',
      'a\nb',
      '\\',
      '*',
      '-n',
      '~',
      'ü',
      ';',
      '#',
      'a=b',
      '!',
    ];
    const result = await guest.exec(['printf', '%s\\0', ...words]);
    expect(result.stdout.split('\0').slice(0, -1)).toEqual(words);
    expect((await guest.exec(['if'])).exitCode).toBe(127);
    expect((await guest.exec(['a=b'])).exitCode).toBe(127);
  });

  test.each([[[]], [['a', '\0']]])('refuses what no program can receive: %j', async (command) => {
    await expect(guest.exec(command)).rejects.toMatchObject({ code: 'guest/argument', blame: 'user' });
  });

  test('32 MiB each way, twice at once', async () => {
    const input = Buffer.alloc(32 << 20, 'abcdefghijklmno\n');
    const [out, err] = await Promise.all(
      ['cat', 'cat >&2'].map((command) => guest.exec(command, { input, maxOutput: 64 << 20 })),
    );
    expect(out?.stdout).toBe(input.toString());
    expect(err?.stderr).toBe(input.toString());
  });

  test('of a flood the end is kept', async () => {
    const result = await guest.exec('yes | head -c 3000000; echo; echo the end', { maxOutput: 100 });
    expect(result.stdout).toHaveLength(100);
    expect(result.stdout.endsWith('\nthe end\n')).toBe(true);
    expect(result.dropped).toBe(3_000_009 - 100);
  });

  test('lines as they come', async () => {
    const lines: string[] = [];
    await guest.exec('echo a; echo b >&2; printf c', {
      onLine: (line, from) => lines.push(`${from}: ${line}`),
    });
    expect(lines.sort()).toEqual(['stderr: b', 'stdout: a', 'stdout: c']);
  });

  test('`check` turns a code into an error with the last lines', async () => {
    const failing = guest.exec('echo reason; exit 4', { check: true });
    await expect(failing).rejects.toMatchObject({
      code: 'guest/command',
      blame: 'host',
      evidence: ['reason'],
    });
    expect((await guest.exec('exit 4', { check: true, accept: [0, 4] })).exitCode).toBe(4);
    const charged = guest.exec('exit 4', { check: true, blame: 'submission' });
    await expect(charged).rejects.toMatchObject({ blame: 'submission' });
  });

  test('a deadline kills the command and keeps what it said', async () => {
    const error = await guest.exec('echo $$; sleep 1000; echo never', { timeout: 300 }).catch((e) => e);
    expect(error).toMatchObject({ code: 'guest/timeout', evidence: [expect.stringMatching(/^[0-9]+$/)] });
    await expect.poll(() => runs(Number(error.evidence[0]))).toBe(false);
  });

  test('a loop of the shell itself, and what it put into the background, are killed too', async () => {
    const command = '(setsid sleep 1005 & echo $!); echo $$; while :; do :; done';
    const error = await guest.exec(command, { timeout: 300 }).catch((e) => e);
    expect(error.evidence).toHaveLength(2);
    for (const pid of error.evidence) await expect.poll(() => runs(Number(pid))).toBe(false);
  });

  test('something left behind that holds the output is named', async () => {
    const error = await guest.exec('sleep 1001 & echo done', { timeout: 300 }).catch((e) => e);
    expect(error).toMatchObject({ code: 'guest/timeout', evidence: ['done'] });
    expect(error.message).toContain('code 0');
  });

  test('an abort ends it, before and during', async () => {
    const stop = new AbortController();
    const running = guest.exec('sleep 1002', { signal: stop.signal });
    stop.abort();
    await expect(running).rejects.toMatchObject({ code: 'interrupted' });
    await expect(guest.exec('true', { signal: stop.signal })).rejects.toMatchObject({ code: 'interrupted' });
    expect((await guest.exec('true')).exitCode).toBe(0);
  });

  test('forty at once wait for a free session', async () => {
    const numbers = Array.from({ length: 40 }, (_, i) => i);
    const results = await Promise.all(numbers.map((i) => guest.exec(`echo ${i}`)));
    expect(results.map(({ stdout }) => Number(stdout))).toEqual(numbers);
    expect(server.peak).toBeLessThanOrEqual(10);
    expect(server.peak).toBeGreaterThan(1);
  });

  test('the connection breaks in the middle', async () => {
    const running = [guest.exec('echo up; cat /dev/zero | head -c 1; sleep 100'), guest.exec('sleep 100')];
    const caught = running.map((one) => one.catch((error) => error));
    await expect.poll(() => server.commands.length).toBe(2);
    server.cut();
    for (const one of caught) expect(await one).toMatchObject({ code: 'guest/lost', blame: 'host' });
    await expect(guest.exec('true')).rejects.toMatchObject({ code: 'guest/lost' });
    expect(guest.death.aborted).toBe(true);
  });

  test('the connection breaks while a session is opened, or much is written', async () => {
    const opening = guest.exec('true').catch((error) => error);
    const writing = guest.exec('sleep 100', { input: Buffer.alloc(16 << 20) }).catch((error) => error);
    server.cut();
    expect(await opening).toMatchObject({ code: 'guest/lost' });
    expect(await writing).toMatchObject({ code: 'guest/lost' });
  });

  test('closing cuts off what runs', async () => {
    const running = guest.exec('sleep 100').catch((error) => error);
    await guest.close();
    expect(await running).toMatchObject({ code: 'guest/closed' });
    await guest.close();
  });

  test('the record has a beginning and an end of each command', async () => {
    await guest.exec('echo hello; exit 5');
    await guest.exec('sleep 100', { timeout: 50 }).catch(() => {});
    expect(events.slice(1)).toMatchObject([
      { type: 'start', id: 1, command: 'echo hello; exit 5' },
      { type: 'end', id: 1, exitCode: 5, stdout: 'hello\n', duration: expect.any(Number) },
      { type: 'start', id: 2 },
      { type: 'end', id: 2, code: 'guest/timeout' },
    ]);
  });
});

// The server of these tests, ssh2's own, now and then closes a channel without its exit status after much output.
describe('spawn', { retry: 2 }, () => {
  test('lines both ways while it runs', async () => {
    const echo = await guest.spawn('while read -r x; do echo "got $x"; done; exit 9');
    const lines = echo.lines();
    for (const word of ['one', 'two']) {
      echo.stdin.write(`${word}\n`);
      expect((await lines.next()).value).toBe(`got ${word}`);
    }
    echo.stdin.end();
    expect((await lines.next()).done).toBe(true);
    expect(await echo.wait()).toEqual({ exitCode: 9 });
  });

  test('wait does not hang on output that nobody reads', async () => {
    const noisy = await guest.spawn('yes | head -c 20000000; yes | head -c 9000000 >&2');
    expect(await noisy.wait({ timeout: 30_000 })).toEqual({ exitCode: 0 });
  });

  test('who leaves the loop early can still wait', async () => {
    const noisy = await guest.spawn('yes | head -c 20000000');
    for await (const line of noisy.lines()) {
      expect(line).toBe('y');
      break;
    }
    expect(await noisy.wait({ timeout: 30_000 })).toEqual({ exitCode: 0 });
  });

  test('kill, also after the end of its input', async () => {
    const endless = await guest.spawn('exec sleep 1003');
    endless.stdin.end();
    await endless.kill();
    expect(await endless.wait()).toEqual({ exitCode: 143, signal: 'SIGTERM' });
  });

  test('disposing kills it; a deadline of wait does not', async () => {
    let pid = 0;
    {
      await using endless = await guest.spawn('echo $$; exec sleep 1004');
      pid = Number((await endless.lines().next()).value);
      await expect(endless.wait({ timeout: 100 })).rejects.toMatchObject({ code: 'guest/timeout' });
      expect(runs(pid)).toBe(true);
    }
    await expect.poll(() => runs(pid)).toBe(false);
  });

  test('the connection breaks: reader and waiter both hear of it', async () => {
    const endless = await guest.spawn('echo first; exec sleep 100');
    const lines = endless.lines();
    expect((await lines.next()).value).toBe('first');
    const rest = lines.next().catch((error) => error);
    const end = endless.wait().catch((error) => error);
    server.cut();
    expect(await rest).toMatchObject({ code: 'guest/lost' });
    expect(await end).toMatchObject({ code: 'guest/lost' });
  });
});

describe('shell', () => {
  function terminal() {
    const stdin = new PassThrough();
    const stdout = new PassThrough();
    let text = '';
    stdout.on('data', (chunk) => {
      text += chunk;
    });
    return { stdin, stdout, text: () => text };
  }

  test('keys in, output out, size and exit code', async () => {
    const { stdin, stdout, text } = terminal();
    let resize: (rows: number, cols: number) => void = () => {};
    let forgotten = false;
    const onResize = (listener: typeof resize) => {
      resize = listener;
      return () => {
        forgotten = true;
      };
    };
    const code = guest.shell({ stdin, stdout, rows: 24, cols: 80, onResize });
    stdin.write('echo "$LINES x $COLUMNS"; read -r x; echo "$x"; exit 6\n');
    await expect.poll(text).toContain('24 x 80');
    resize(50, 132);
    expect(await code).toBe(6);
    expect(text()).toContain('resized 50 132');
    expect(forgotten).toBe(true);
    expect(stdout.writableEnded).toBe(false);
    expect(stdin.destroyed).toBe(false);
  });

  test('a command on a terminal', async () => {
    const { stdin, stdout, text } = terminal();
    expect(
      await guest.shell({ stdin, stdout, rows: 9, cols: 9, command: ['sh', '-c', 'echo $COLUMNS'] }),
    ).toBe(0);
    expect(text()).toBe('9\n');
  });

  test('the connection breaks', async () => {
    const { stdin, stdout, text } = terminal();
    const code = guest.shell({ stdin, stdout, rows: 24, cols: 80 }).catch((error) => error);
    stdin.write('echo up\n');
    await expect.poll(text).toContain('up');
    server.cut();
    expect(await code).toMatchObject({ code: 'guest/lost' });
    expect(stdin.isPaused()).toBe(true);
    stdout.end();
    await once(stdout, 'finish');
  });
});
