import { existsSync, readdirSync } from 'node:fs';
import { lstat, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { LabError } from '../../src/errors.js';
import { run } from '../../src/host/run.js';
import { openJail, orSetupFailed } from '../../src/sandbox/jail.js';
import { failureOf, inJail, makeTree, outside, smallLimits } from '../support/jails.js';
import { useTempFolder } from '../support/temp.js';

const folder = useTempFolder();
let tree = '';

beforeAll(async () => {
  tree = await makeTree(join(folder.path, 'tree'));
});

test('what is written to the tree is seen inside and does not last', async () => {
  const digest = `cd '${tree}' && find . -printf '%p %m %T@\\n' -type f -exec sha256sum {} + | sort`;
  const before = (await outside(digest)).stdout;
  const spoil = 'cd build && echo new > new && mv old moved && ln -s / link && cat moved new && ls';
  expect((await inJail(tree, spoil)).stdout).toBe('from the seed\nnew\nlink\nmoved\nnew\n');
  expect((await outside(digest)).stdout).toBe(before);
  await outside(`echo x > '${tree}/build/x'`); // the digest would have noticed
  expect((await outside(digest)).stdout).not.toBe(before);
});

test('our edits are in place before the code starts, and keep their modes', async () => {
  const from = join(folder.path, 'an edit, it\'s: "odd"');
  await writeFile(from, 'edited\n', { mode: 0o755 });
  const edits = {
    put: [
      { from, to: 'build/deep/er/x' },
      { from, to: 'build/old' },
    ],
    remove: ['build/gone'],
  };
  await writeFile(join(tree, 'build/gone'), '');
  const { stdout } = await inJail(tree, 'cat build/old && build/deep/er/x; ls build', {
    overlay: { lower: tree, at: '/tree', edits },
  });
  expect(stdout).toMatch(/^edited\n/);
  expect(stdout).not.toContain('gone');
  expect(existsSync(join(tree, 'build/gone'))).toBe(true);
});

test('an edit does not follow a link of the tree', async () => {
  const lower = await makeTree(join(folder.path, 'linked'));
  const target = join(folder.path, 'target');
  await mkdir(target);
  await symlink(target, join(lower, 'away'));
  const from = join(folder.path, 'edit');
  await writeFile(from, 'x');
  for (const to of ['away/x', '../x', 'build/../../x']) {
    const overlay = { lower, at: '/tree', edits: { put: [{ from, to }], remove: [] } };
    const error = await failureOf(inJail(lower, 'true', { overlay }));
    expect([error.code, error.blame]).toEqual(['sandbox/edit', 'submission']);
  }
  await symlink(join(target, 'final'), join(lower, 'file'));
  const overlay = { lower, at: '/tree', edits: { put: [{ from, to: 'file' }], remove: [] } };
  expect((await inJail(lower, 'cat file', { overlay })).stdout).toBe('x');
  expect(readdirSync(target)).toEqual([]);
});

test('only regular files and folders are copied out, without links and special modes', async () => {
  const plant = `cd build
    echo plain > plain; ln plain hard; chmod 6755 plain; mkdir sub; echo in > sub/in
    ln -s /etc/ld.so.cache link; ln -s ../.. up; ln -s sub/in fine; mkfifo fifo; ln -s /etc folder
    echo closed > closed; chmod 0 closed; python3 -c 'import socket; socket.socket(1).bind("socket")'`;
  const to = join(folder.path, 'out');
  await mkdir(to);
  const paths = ['build', 'link', 'missing', 'build/folder/alternatives/README'];
  await inJail(tree, plant, {}, { extract: { paths, to } });
  const entries = (await readdir(to, { recursive: true })).sort();
  expect(entries.filter((name) => !/folder|(old|gone|x)$/.test(name))).toEqual([
    ...['build', 'build/hard', 'build/plain', 'build/sub', 'build/sub/in'],
  ]);
  const [plain, hard] = await Promise.all(['plain', 'hard'].map((name) => lstat(join(to, 'build', name))));
  expect(plain?.mode).toBe(0o100755);
  expect([plain?.nlink, hard?.nlink]).toEqual([1, 1]);
  expect(await readFile(join(to, 'build/hard'), 'utf8')).toBe('plain\n');
  for (const name of entries) expect((await lstat(join(to, name))).isSymbolicLink()).toBe(false);
});

test('a process that swaps files to the last changes nothing outside', async () => {
  const swap = `cd build; echo x > f; (setsid sh -c 'while :; do ln -sf /etc/ld.so.cache f; rm -f f; echo x > f; done' &) ; sleep 0.2`;
  const to = join(folder.path, 'swapped');
  for (let i = 0; i < 3; i += 1) {
    await inJail(tree, swap, {}, { extract: { paths: ['build/f'], to } });
    const found = await readFile(join(to, 'build/f'), 'utf8').catch(() => '');
    expect(['', 'x\n']).toContain(found);
  }
});

test('more than the scratch space is not copied out, however little of it is on the disk', async () => {
  const to = join(folder.path, 'sparse');
  const error = await failureOf(
    inJail(
      tree,
      'for i in 1 2 3; do truncate -s 8M build/s$i; done',
      {},
      { extract: { paths: ['build'], to } },
    ),
  );
  expect([error.code, error.blame]).toEqual(['sandbox/extract', 'submission']);
  expect(existsSync(to)).toBe(false);
  const size = smallLimits.fileSize / 1024 ** 2;
  await inJail(tree, `truncate -s ${size}M build/one`, {}, { extract: { paths: ['build/one'], to } });
  expect((await lstat(join(to, 'build/one'))).size).toBe(smallLimits.fileSize); // one of them is not too much
});

test('odd and closed paths: TMPDIR, tree, file', async () => {
  const odd = join(folder.path, `odd, "it's": a=b \\x`);
  await mkdir(odd, { mode: 0o700 });
  const lower = await makeTree(join(odd, 'lower,dir:x'));
  const file = join(odd, 'a file');
  await writeFile(file, 'bound\n');
  const before = process.env.TMPDIR;
  process.env.TMPDIR = odd;
  try {
    const jail = { overlay: { lower, at: lower }, readOnly: [{ from: file }], cwd: lower };
    const { stdout } = await inJail(
      lower,
      `cat build/old '${file.replaceAll("'", "'\\''")}'; echo x > build/y`,
      jail,
      {
        extract: { paths: ['build/y'], to: join(odd, 'out') },
      },
    );
    expect(stdout).toBe('from the seed\nbound\n');
    expect(await readFile(join(odd, 'out/build/y'), 'utf8')).toBe('x\n');
    expect(readdirSync(odd).filter((name) => name.startsWith('lab-'))).toEqual([]);
  } finally {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
  }
  expect(tmpdir()).not.toBe(odd);
});

test('a set-up that fails is the host’s, and code inside cannot claim that', async () => {
  const missing = await failureOf(inJail(join(folder.path, 'nonesuch'), 'true'));
  expect([missing.code, missing.blame]).toEqual(['sandbox/setup', 'host']);
  expect(missing.evidence.join('\n')).toContain('nonesuch');
  for (const lie of [
    'echo mount: failed >&2; exit 1',
    'kill -9 -1',
    'kill -9 1; kill -9 $$',
    'exec /nonesuch',
  ]) {
    const error = await failureOf(inJail(tree, lie, {}, { accept: [0] }));
    expect(error.code, lie).toBe('run/failed');
  }
});

test('whoever starts a program in an open jail can ask whether the jail is at fault', async () => {
  const launch = async (lower: string) => {
    await using jail = await openJail({ overlay: { lower, at: '/tree' }, limits: smallLimits });
    const [file = '', ...prefix] = jail.prefix;
    const error = await failureOf(run(file, [...prefix, '/bin/sh', '-c', 'exit 1'], { timeout: 20_000 }));
    const meant = orSetupFailed(error, jail);
    return meant instanceof LabError ? meant.code : undefined;
  };
  expect(await launch(join(folder.path, 'nonesuch'))).toBe('sandbox/setup');
  expect(await launch(tree)).toBe('run/failed');
});
