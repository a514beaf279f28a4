import { lstat, mkdir, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Contribution } from '../../src/build/contribution.js';
import { applyContributions, describeContributions } from '../../src/build/tree.js';
import { type SourceTree, type WorkTree, withWorkTree } from '../../src/build/worktree.js';
import { LabError } from '../../src/errors.js';
import { run } from '../../src/host/run.js';
import { scaled } from '../../src/timeouts.js';
import { quietStep } from '../support/quiet-step.js';
import { useTempFolder } from '../support/temp.js';

const temp = useTempFolder();
const timeouts = scaled(1);
const options = { signal: new AbortController().signal, timeout: timeouts.hostTool };

async function put(path: string, text: string): Promise<string> {
  const full = join(temp.path, path);
  await mkdir(dirname(full), { recursive: true });
  await writeFile(full, text);
  return full;
}

const numbers = Array.from({ length: 30 }, (_, i) => `line ${i + 1}\n`).join('');

async function pristine(name: string): Promise<string> {
  await put(`${name}/hw/misc/Kconfig`, numbers);
  await put(`${name}/hw/misc/edu.c`, 'int edu;\n');
  await put(`${name}/README`, 'read me\n');
  return join(temp.path, name);
}

async function patchOf(name: string, change: (dir: string) => Promise<void>): Promise<string> {
  const before = await pristine(`${name}/a`);
  const after = await pristine(`${name}/b`);
  await change(after);
  const diff = await run('diff', ['-urN', 'a', 'b'], {
    cwd: dirname(before),
    timeout: 10_000,
    accept: [0, 1],
  });
  return await put(`${name}/x.patch`, diff.stdout);
}

async function failure(body: Promise<unknown>): Promise<LabError> {
  const error = await body.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof LabError) return error;
  throw new Error(`no LabError but ${String(error)}`);
}

describe('applyContributions', () => {
  it('applies files, edits and patches in order, each on what the one before left', async () => {
    const tree = await pristine('order');
    const from = await put('mine.c', 'int mine;\n');
    const patch = await patchOf('order-patch', async (dir) => {
      await writeFile(join(dir, 'hw/misc/Kconfig'), numbers.replace('line 20\n', 'line twenty\n'));
      await writeFile(join(dir, 'hw/misc/new.c'), 'int new;\n');
      await rm(join(dir, 'README'));
    });
    const changes = await applyContributions(
      tree,
      [
        { kind: 'file', to: 'hw/misc/mine.c', from },
        { kind: 'edit', path: 'hw/misc/Kconfig', where: { before: 'line 3' }, text: 'inserted\n' },
        { kind: 'patch', from: patch },
        { kind: 'edit', path: 'hw/misc/new.c', where: 'end', text: 'int end;\n' },
        { kind: 'removal', path: 'hw/misc/edu.c' },
      ],
      options,
    );
    const texts = [...changes].map(([path, { file }]) => [path, file?.data.toString()]);
    expect(Object.fromEntries(texts)).toEqual({
      'hw/misc/mine.c': 'int mine;\n',
      'hw/misc/Kconfig': numbers
        .replace('line 20\n', 'line twenty\n')
        .replace('line 3\n', 'inserted\nline 3\n'),
      'hw/misc/new.c': 'int new;\nint end;\n',
      README: undefined,
      'hw/misc/edu.c': undefined,
    });
    expect(await readFile(join(tree, 'hw/misc/Kconfig'), 'utf8')).toBe(numbers);
  });

  it('says which hunk of a patch does not fit, and whose it is', async () => {
    const patch = await patchOf('misfit', async (dir) => {
      await writeFile(join(dir, 'hw/misc/Kconfig'), numbers.replace('line 20\n', 'line twenty\n'));
    });
    const tree = await pristine('misfit-tree');
    await put('misfit-tree/hw/misc/Kconfig', numbers.replace('line 17\n', 'another\n'));
    const error = await failure(
      applyContributions(tree, [{ kind: 'patch', from: patch, blame: 'submission' }], options),
    );
    expect(error).toMatchObject({ code: 'build/patch', blame: 'submission' });
    expect(error.evidence.join('\n')).toContain('hw/misc/Kconfig:17');
    expect(error.evidence.join('\n')).toContain('patch(1): Hunk #1 succeeded at 17 with fuzz 1');
  });

  it('takes a patch inside a git repository as anywhere else', async () => {
    const before = process.env.TMPDIR;
    const repository = join(temp.path, 'repository');
    await mkdir(repository);
    await run('git', ['init', '-q', repository], { timeout: 10_000 });
    const patch = await patchOf('in-git', async (dir) => writeFile(join(dir, 'README'), 'changed\n'));
    try {
      process.env.TMPDIR = repository;
      const changes = await applyContributions(
        await pristine('g'),
        [{ kind: 'patch', from: patch }],
        options,
      );
      expect(changes.get('README')?.file?.data.toString()).toBe('changed\n');
    } finally {
      if (before === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = before;
    }
  });

  it('refuses a patch that makes a symbolic link', async () => {
    const patch = await put(
      'link.patch',
      'diff --git a/x b/x\nnew file mode 120000\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+/etc/passwd\n\\ No newline at end of file\n',
    );
    const error = await failure(
      applyContributions(await pristine('l'), [{ kind: 'patch', from: patch }], options),
    );
    expect(error.code).toBe('build/patch');
  });

  it.each(['../x', '/etc/x', '.', 'a/../../x'])('refuses the path %s', async (to) => {
    const from = await put('some.c', '');
    const error = await failure(
      applyContributions(await pristine('p'), [{ kind: 'file', to, from, blame: 'submission' }], options),
    );
    expect(error).toMatchObject({ code: 'build/path', blame: 'submission' });
  });
});

describe('describeContributions', () => {
  it('depends on content and destination, not on where a file lies on the host', async () => {
    const [a, b, c] = [await put('one/x.c', '1'), await put('two/y.c', '1'), await put('three/x.c', '2')];
    const of = (from: string, to = 'x.c') => describeContributions([{ kind: 'file', to, from }]);
    expect(await of(a)).toEqual(await of(b));
    expect(await of(a)).not.toEqual(await of(c));
    expect(await of(a)).not.toEqual(await of(a, 'z.c'));
  });
});

describe('withWorkTree', () => {
  const source = (tree: string, kind: SourceTree['origin']['kind'] = 'debian'): SourceTree => ({
    project: 'qemu',
    version: '1.0',
    digest: tree,
    tree,
    origin: { kind },
  });
  const use = <T>(
    tree: SourceTree,
    contributions: readonly Contribution[],
    body: (work: WorkTree) => Promise<T>,
  ): Promise<T> => {
    const request = { source: tree, key: 1, contributions };
    return withWorkTree(request, { step: quietStep(), timeouts }, body);
  };
  const text = (work: WorkTree, path: string) => readFile(join(work.src, path), 'utf8');
  const edit: Contribution = { kind: 'edit', path: 'README', where: 'end', text: 'more\n' };

  it('writes only what differs, and takes back what is no longer contributed', async () => {
    const tree = source(await pristine('w1'));
    const from = await put('w1-file.c', 'int v1;\n');
    const file: Contribution = { kind: 'file', to: 'hw/misc/mine.c', from };
    const mine = await use(tree, [file, edit], async (work) => {
      expect(await text(work, 'README')).toBe('read me\nmore\n');
      return await stat(join(work.src, 'hw/misc/mine.c'), { bigint: true });
    });
    await writeFile(from, 'int v2;\n');
    await use(tree, [file], async (work) => {
      expect(await text(work, 'README')).toBe('read me\n');
      expect(await text(work, 'hw/misc/mine.c')).toBe('int v2;\n');
    });
    await writeFile(from, 'int v2;\n');
    const again = await use(tree, [file], (work) => stat(join(work.src, 'hw/misc/mine.c'), { bigint: true }));
    expect(again.mtimeNs).toBeGreaterThan(mine.mtimeNs);
    const same = await use(tree, [file, edit], (work) =>
      stat(join(work.src, 'hw/misc/mine.c'), { bigint: true }),
    );
    expect(same.mtimeNs).toBe(again.mtimeNs);
    await use(tree, [], async (work) => {
      await expect(stat(join(work.src, 'hw/misc/mine.c'))).rejects.toMatchObject({ code: 'ENOENT' });
    });
  });

  it('never changes the pristine source, though files are shared with it', async () => {
    const tree = source(await pristine('w2'));
    await use(tree, [edit], async (work) => {
      const [shared, own] = [
        await lstat(join(work.src, 'hw/misc/edu.c')),
        await lstat(join(work.src, 'README')),
      ];
      expect([shared.nlink, own.nlink]).toEqual([2, 1]);
    });
    expect(await readFile(join(tree.tree, 'README'), 'utf8')).toBe('read me\n');
  });

  it("copies a user's own tree, without its repository and what builds left there", async () => {
    const dir = await pristine('w3');
    for (const path of [
      '.git/config',
      'build/x',
      'hw/misc/edu.o',
      '.config',
      'arch/x86/include/generated/a.h',
    ]) {
      await put(`w3/${path}`, '');
    }
    await symlink('README', join(dir, 'LINK'));
    await use(source(dir, 'path'), [], async (work) => {
      expect((await lstat(join(work.src, 'README'))).nlink).toBe(1);
      expect((await lstat(join(work.src, 'LINK'))).isSymbolicLink()).toBe(true);
      expect((await readdir(work.src)).sort()).toEqual(['LINK', 'README', 'arch', 'hw']);
      expect((await readdir(join(work.src, 'hw/misc'))).sort()).toEqual(['Kconfig', 'edu.c']);
    });
  });

  it("follows a user's own tree, writing what changed there and keeping the rest", async () => {
    const dir = await pristine('w7');
    const at = (digest: string): SourceTree => ({ ...source(dir, 'path'), digest });
    const times = (work: WorkTree) =>
      Promise.all(['README', 'hw/misc/edu.c'].map((path) => stat(join(work.src, path), { bigint: true })));
    const before = await use(at('one'), [edit], async (work) => {
      await writeFile(join(work.build, 'product'), '');
      return await times(work);
    });
    await writeFile(join(dir, 'hw/misc/edu.c'), 'int EDU;\n');
    await utimes(join(dir, 'hw/misc/edu.c'), 1, 1);
    await rm(join(dir, 'hw/misc/Kconfig'));
    await use(at('two'), [], async (work) => {
      expect(await text(work, 'hw/misc/edu.c')).toBe('int EDU;\n');
      expect(await text(work, 'README')).toBe('read me\n');
      expect(await readdir(join(work.src, 'hw/misc'))).toEqual(['edu.c']);
      expect(await readdir(work.build)).toEqual(['product']);
      const after = await times(work);
      expect(after[1]?.mtimeNs).toBeGreaterThan(before[1]?.mtimeNs ?? 0n);
    });
  });

  it('knows when a build did not end by itself, and repairs a cut-off synchronisation', async () => {
    const tree = source(await pristine('w4'));
    const killed = use(tree, [edit], async (work) => {
      expect(work.interrupted).toBe(false);
      // as a crash between two writes would leave it: a change that only the journal knows of
      await writeFile(
        join(work.dir, 'contributed.json'),
        JSON.stringify(['README', 'hw/misc/edu.c', 'junk.c']),
      );
      await rm(join(work.src, 'hw/misc/edu.c'));
      await writeFile(join(work.src, 'junk.c'), 'junk');
      throw new Error('killed');
    });
    await expect(killed).rejects.toThrow('killed');
    await use(tree, [], async (work) => {
      expect(work.interrupted).toBe(true);
      expect(await text(work, 'README')).toBe('read me\n');
      expect(await text(work, 'hw/misc/edu.c')).toBe('int edu;\n');
      await expect(stat(join(work.src, 'junk.c'))).rejects.toMatchObject({ code: 'ENOENT' });
    });
    await use(tree, [], async (work) => expect(work.interrupted).toBe(false));
  });

  it('starts again when making the tree was cut off', async () => {
    const tree = source(await pristine('w5'));
    const dir = await use(tree, [], async (work) => work.dir);
    await rm(join(dir, 'source.json'));
    await rm(join(dir, 'src/README'));
    await use(tree, [], async (work) => expect(await text(work, 'README')).toBe('read me\n'));
  });

  it('lets one build at a time into a tree', async () => {
    const tree = source(await pristine('w6'));
    const order: string[] = [];
    const one = (name: string) =>
      use(tree, [], async () => {
        order.push(`${name} in`);
        await new Promise((resolve) => setImmediate(resolve));
        order.push(`${name} out`);
      });
    await Promise.all([one('a'), one('b')]);
    expect(order[1]).toBe(order[0]?.replace('in', 'out'));
  });
});
