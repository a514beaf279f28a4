import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { build } from 'esbuild';
import { beforeAll, expect, test } from 'vitest';
import { openJail } from '../../src/sandbox/jail.js';
import { openMachineJail } from '../../src/sandbox/machine.js';
import { owner } from '../../src/sandbox/stage.js';
import { failureOf, inJail, makeTree, outside, processesWith, smallLimits } from '../support/jails.js';
import { useTempFolder } from '../support/temp.js';

const folder = useTempFolder();
let tree = '';

beforeAll(async () => {
  tree = await makeTree(join(folder.path, 'tree'));
});

test('forking ends at the limit, and the host goes on', async () => {
  const fork = `python3 -c '
import os, time
n = 0
try:
    while n < 200:
        if os.fork() == 0: time.sleep(60)
        n += 1
except OSError: pass
print(n, flush=True)
os.kill(-1, 9)'`;
  expect(
    Number(
      (await outside(fork.replace('time.sleep(60)', 'os._exit(0)').replace('os.kill(-1, 9)', ''))).stdout,
    ),
  ).toBe(200);
  const { stdout } = await inJail(tree, fork);
  expect(Number(stdout)).toBeGreaterThan(3);
  expect(Number(stdout)).toBeLessThanOrEqual(smallLimits.processes);
});

test('memory ends at the limit', async () => {
  const fill = `python3 -c 'b = bytearray(b"x") * (600 << 20); print("filled")' 2>/dev/null`;
  expect((await outside(fill)).stdout).toBe('filled\n');
  const { exitCode, stdout } = await inJail(tree, fill);
  expect([exitCode === 0, stdout]).toEqual([false, '']);
  // and that is the doing of what ran there
  expect(await failureOf(inJail(tree, fill, {}, { accept: [0] }))).toMatchObject({ code: 'run/failed' });
});

test('files and folders end at their limits, and nothing is left on the disk', async () => {
  const before = readdirSync(tmpdir());
  const fill = 'head -c 9437184 /dev/zero > build/f; echo $?; stat -c %s build/f';
  expect((await inJail(tree, fill)).stdout).toBe(`153\n${smallLimits.fileSize}\n`);
  for (const place of ['build', '/tmp', '/dev/shm']) {
    const more = `for i in 1 2 3 4; do head -c 7340032 /dev/zero > ${place}/$i || echo full; done 2>&1`;
    expect((await inJail(tree, more)).stdout, place).toMatch(/No space left/);
  }
  const many = `python3 -c '
n = 0
try:
    while n < 400000: open("build/%d" % n, "w").close(); n += 1
except OSError as e: print(e.errno)'`;
  expect((await inJail(tree, many, { limits: { ...smallLimits, memory: 1 << 30 } })).stdout).toBe('28\n');
  const own = `-${owner()}-`;
  expect(readdirSync(tmpdir()).filter((name) => name.includes(own) && !before.includes(name))).toEqual([]);
});

test('CPU time, output and open files end at their limits', async () => {
  const limits = { ...smallLimits, cpuSeconds: 1 };
  expect((await inJail(tree, 'sh -c "while :; do :; done"; echo $?', { limits })).stdout).toMatch(
    /^(152|137)\n$/,
  );
  const error = await failureOf(inJail(tree, 'yes', {}, { maxOutput: 100_000 }));
  expect(error.code).toBe('run/output');
  expect(Number((await inJail(tree, 'ulimit -n')).stdout)).toBeLessThanOrEqual(1024);
});

test('lines of errors are short, whatever is printed', async () => {
  const lines: string[] = [];
  const shout = 'head -c 200000 /dev/zero | tr "\\0" x; echo; exit 3';
  const error = await failureOf(inJail(tree, shout, {}, { accept: [0], onLine: (line) => lines.push(line) }));
  expect(error.evidence.concat(lines).every((line) => line.length <= 2000)).toBe(true);
  expect(lines[0]).toMatch(/^x+$/);
});

test('after the time limit, processes that left their session are dead too', async () => {
  const marker = `stray-${process.pid}`;
  const stray = `(setsid sh -c '(sleep 99 & exec sleep 98) & exec -a x sleep 97; :' ${marker} &) ; (setsid sh -c 'sleep 96; :' ${marker} &); echo up; sleep 95; :`;
  const script = stray.replace('exec -a x ', '');
  let seen: number[] = [];
  const onLine = () => {
    seen = processesWith(marker);
  };
  const error = await failureOf(inJail(tree, `${script}`, {}, { timeout: 1500, onLine }));
  expect(error.code).toBe('run/timeout');
  expect(seen.length).toBeGreaterThan(0);
  expect(processesWith(marker)).toEqual([]);
  await inJail(tree, script.replace('sleep 95', 'true')); // an end of its own accord takes them along as well
  expect(processesWith(marker)).toEqual([]);
});

test('SIGKILL of the process that runs a jail leaves nothing, and its folders go with the next one', async () => {
  const marker = `orphan-${process.pid}`;
  const script = join(folder.path, 'parent.mjs');
  const run = join(import.meta.dirname, '../../src/sandbox/run.ts');
  const contents = `
import { runJailed } from ${JSON.stringify(run)};
const [, , lower, marker] = process.argv;
const jail = { overlay: { lower, at: '/tree' }, limits: ${JSON.stringify(smallLimits)} };
const onLine = (line) => console.log(line);
await runJailed(jail, ['/bin/sh', '-c', '(setsid sleep 99 &); echo up; sleep 98; :', marker], { timeout: 60000, onLine });`;
  const banner = {
    js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
  };
  const stdin = { contents, loader: 'ts', resolveDir: folder.path } as const;
  await build({
    stdin,
    banner,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    outfile: script,
  });
  const start = async () => {
    const child = spawn('node', [script, tree, marker], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(createInterface(child.stdout), 'line');
    return child;
  };
  const folders = (pid: number | undefined) =>
    readdirSync(tmpdir()).filter((name) => name.includes(`-${pid}.`));
  const first = await start();
  expect(processesWith(marker).length).toBeGreaterThan(1);
  expect(folders(first.pid).length).toBeGreaterThan(0);
  first.kill('SIGKILL');
  await once(first, 'exit');
  for (let i = 0; i < 300 && processesWith(marker).length > 0; i += 1) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(processesWith(marker)).toEqual([]);
  const second = await start();
  expect(folders(first.pid)).toEqual([]);
  expect(folders(second.pid).length).toBeGreaterThan(0);
  second.kill('SIGKILL');
  await once(second, 'exit');
});

test('only the descriptors that are meant are inherited', async () => {
  await using jail = await openJail({ descriptors: [4], limits: smallLimits });
  const list = 'for n in {3..255}; do [ -e /proc/self/fd/$n ] && echo $n; done';
  const look = ['/bin/bash', '-c', `${list}; ls -l /proc/1/fd | grep -c lab-; echo here >&4`];
  const [file = '', ...args] = [...jail.prefix, ...look];
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit', 'pipe', 'pipe', 'pipe'] });
  let listed = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    listed += text;
  });
  const [said] = (await once(child.stdio[4] as NodeJS.ReadableStream, 'data')) as [Buffer];
  await once(child, 'close');
  expect(said.toString()).toBe('here\n');
  expect(listed).toBe('4\n0\n'); // nor does the first process inside hold the file with the status
  expect(jail.status()).toEqual({ begun: 1 });
});

test('exit codes and deaths by signals are passed on', async () => {
  expect((await inJail(tree, 'exit 7')).exitCode).toBe(7);
  expect((await inJail(tree, 'kill -SEGV $$')).exitCode).toBe(139);
  expect(
    (await inJail(tree, 'exit 7', {}, { extract: { paths: ['build/old'], to: join(folder.path, 'o') } }))
      .exitCode,
  ).toBe(7);
});

test('a machine is reached through its relays, each dialled when it is used', async () => {
  const server = join(folder.path, 'server.py');
  await writeFile(
    server,
    `
import socket
listener = socket.create_server(('127.0.0.1', 2222))
print('listening', flush=True)
while True:
    peer, _ = listener.accept()
    peer.sendall(b'you said ' + peer.recv(100))
    peer.close()
`,
  );
  await chmod(folder.path, 0o755);
  await using jail = await openMachineJail({ readOnly: [server], writable: [] });
  const [file = '', ...args] = [...jail.sealed.wrap, '/usr/bin/python3', server];
  const pipes = Array<'pipe'>(1 + jail.sealed.relays).fill('pipe');
  const child = spawn(file, args, { detached: true, stdio: ['ignore', 'pipe', 'inherit', ...pipes] });
  try {
    await once(child.stdout as Readable, 'data');
    for (const [index, word] of [
      [5, 'first'],
      [4, 'second'],
    ] as const) {
      const relay = (child.stdio as unknown[])[index] as Socket;
      let text = '';
      relay.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      const closed = once(relay, 'end');
      relay.write(word);
      await closed;
      expect(text).toBe(`you said ${word}`);
    }
    expect(jail.status().begun).toBe(1);
  } finally {
    process.kill(-(child.pid ?? 0), 'SIGKILL');
    await once(child, 'close');
  }
});

test('a writable file is, and a read-only one is not', async () => {
  const [rw, ro] = [join(folder.path, 'rw'), join(folder.path, 'ro')];
  for (const path of [rw, ro]) {
    await writeFile(path, '');
    await chmod(path, 0o666);
  }
  await inJail(tree, `echo x > '${rw}'; echo x > '${ro}'`, {
    readOnly: [{ from: ro }],
    writable: [{ from: rw }],
  });
  expect([readFileSync(rw, 'utf8'), readFileSync(ro, 'utf8')]).toEqual(['x\n', '']);
  expect(existsSync('/sys/fs/cgroup') && groupsOf(process.pid)).toEqual([]);
});

/** Control groups that we left behind. */
function groupsOf(pid: number): string[] {
  const roots = ['/sys/fs/cgroup', '/sys/fs/cgroup/memory', '/sys/fs/cgroup/pids'].filter((dir) =>
    existsSync(dir),
  );
  return roots.flatMap((dir) => readdirSync(dir)).filter((name) => name.startsWith(`lab-${pid}.`));
}
