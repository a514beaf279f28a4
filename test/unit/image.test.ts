import { access, chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { plannedPackages } from '../../src/image/apk.js';
import { addApplets, debianRelease, mergeUsr } from '../../src/image/debian.js';
import { debugfsScript } from '../../src/image/ext4.js';
import { guestFiles, recipeDigest } from '../../src/image/recipe.js';
import { type Entry, guardSecrets, overlayTrees, plainModes, readTree } from '../../src/image/tree.js';
import { useTempFolder } from '../support/temp.js';

const temp = useTempFolder();
const root = { uid: 0, gid: 0 };
const tree = (...entries: Entry[]) => new Map(entries.map((entry) => [entry.path, entry]));
const file = (path: string, mode = 0o644, source = `/host${path}`): Entry => ({
  ...root,
  path,
  mode,
  source,
  kind: 'file',
});
const folder = (path: string, mode = 0o755): Entry => ({ ...root, path, mode, kind: 'directory' });
const link = (path: string, target: string): Entry => ({ ...root, path, target, kind: 'link' });

describe('debugfsScript', () => {
  it('makes parents before children and sorts, whatever the order of the tree', () => {
    const entries = [file('/etc/b'), link('/etc/a', '/etc/b'), folder('/etc'), folder('/bin')];
    const script = debugfsScript(tree(...entries));
    expect(script).toBe(debugfsScript(tree(...entries.toReversed())));
    expect(script.trimEnd().split('\n')).toEqual([
      'set_inode_field / mode 040755',
      'cd /',
      'mkdir bin',
      'set_inode_field /bin mode 040755',
      'mkdir etc',
      'set_inode_field /etc mode 040755',
      'cd /etc',
      'symlink a /etc/b',
      'write /host/etc/b b',
      'set_inode_field /etc/b mode 0100644',
    ]);
  });

  it('quotes names and keeps special bits and owners', () => {
    const script = debugfsScript(tree({ ...file('/a "b"', 0o4755, '/host/x y'), gid: 42 }));
    expect(script).toContain('write "/host/x y" "a ""b"""\n');
    expect(script).toContain('set_inode_field "/a ""b""" mode 0104755\n');
    expect(script).toContain('set_inode_field "/a ""b""" gid 42\n');
  });

  it('refuses a name that would be two commands', () => {
    expect(() => debugfsScript(tree(file('/a\nrm /b')))).toThrow(
      expect.objectContaining({ code: 'image/file-system' }),
    );
  });
});

describe('trees', () => {
  it('reads a folder, also what its owner may not read', async () => {
    const base = join(temp.path, 'tree');
    await mkdir(join(base, 'sub'), { recursive: true });
    await writeFile(join(base, 'sub/hidden'), 'x');
    await chmod(join(base, 'sub/hidden'), 0o111);
    await symlink('/nowhere', join(base, 'sub/link'));
    const read = await readTree(base);
    expect([...read.keys()].sort()).toEqual(['/sub', '/sub/hidden', '/sub/link']);
    expect(read.get('/sub/hidden')).toMatchObject({ kind: 'file', mode: 0o111, uid: 0, gid: 0 });
    expect(read.get('/sub/link')).toMatchObject({ kind: 'link', target: '/nowhere' });
    await access(join(base, 'sub/hidden'));
  });

  it('puts layers on top, but leaves folders as they were', () => {
    const merged = overlayTrees(
      tree(folder('/tmp', 0o1777), file('/a')),
      tree(folder('/tmp'), link('/a', 'b')),
    );
    expect(merged.get('/tmp')).toMatchObject({ mode: 0o1777 });
    expect(merged.get('/a')).toMatchObject({ kind: 'link' });
  });

  it('forgets the umask of a checkout', () => {
    const plain = plainModes(tree(folder('/d', 0o775), file('/x', 0o775), file('/y', 0o664)));
    expect([...plain.values()].map((entry) => 'mode' in entry && entry.mode)).toEqual([0o755, 0o755, 0o644]);
  });

  it('guards the password file', () => {
    expect(guardSecrets(tree(file('/etc/shadow'))).get('/etc/shadow')).toMatchObject({
      mode: 0o640,
      gid: 42,
    });
  });
});

describe('Alpine', () => {
  it('reads what apk would install', () => {
    const text = [
      'fetch http://x/main/x86_64/APKINDEX.tar.gz',
      '(1/3) Installing libuuid (2.39.3-r0)',
      '(2/3) Upgrading busybox (1.36.1-r15 -> 1.36.1-r19)',
      '(3/3) Installing e2fsprogs (1.47.0-r5)',
      'Executing busybox-1.36.1-r19.trigger',
      'OK: 14 MiB in 34 packages',
    ].join('\n');
    expect(plannedPackages(text)).toEqual([
      { name: 'busybox', version: '1.36.1-r19' },
      { name: 'e2fsprogs', version: '1.47.0-r5' },
      { name: 'libuuid', version: '2.39.3-r0' },
    ]);
  });
});

describe('Debian', () => {
  it('moves both halves of a split /usr together', () => {
    const merged = mergeUsr(tree(folder('/bin'), file('/bin/mount'), file('/usr/bin/lspci'), folder('/lib')));
    expect(merged.get('/bin')).toMatchObject({ kind: 'link', target: 'usr/bin' });
    expect(merged.get('/usr/bin/mount')).toMatchObject({ kind: 'file', source: '/host/bin/mount' });
    expect(merged.has('/usr/bin/lspci')).toBe(true);
    expect(merged.has('/bin/mount')).toBe(false);
  });

  it('adds only the applets that nothing else brings, where they belong', () => {
    const merged = tree(file('/usr/bin/dd'), file('/usr/sbin/modprobe'));
    addApplets(merged, ['bin/dd', 'sbin/modprobe', 'sbin/init', 'usr/bin/awk']);
    expect([...merged.keys()]).toEqual([
      '/usr/bin/dd',
      '/usr/sbin/modprobe',
      '/usr/sbin/init',
      '/usr/bin/awk',
    ]);
    expect(merged.get('/usr/sbin/init')).toMatchObject({ kind: 'link', target: '/bin/busybox' });
    expect(merged.get('/usr/bin/dd')).toMatchObject({ kind: 'file' });
  });

  it.each([
    ['12.4+deb12u12', '12.12'],
    ['13.8', '13.8'],
    ['13.8+deb13u4', '13.4'],
    ['odd', 'odd'],
  ])('reads the release from base-files %s', (version, release) => {
    expect(debianRelease(version)).toBe(release);
  });
});

describe('our own files', () => {
  it.each(['alpine', 'debian'] as const)('make a guest that boots: %s', async (distro) => {
    const all = (await guestFiles(distro)).reduce(overlayTrees);
    for (const path of ['/etc/lab/sysinit', '/etc/lab/services', '/etc/lab/shell', '/etc/lab/shutdown']) {
      expect(all.get(path), path).toMatchObject({ kind: 'file', mode: 0o755 });
    }
    expect(all.get('/etc/runlevels/default/lab-nodes')).toMatchObject({ target: '/etc/init.d/lab-nodes' });
    expect(all.get('/etc/init.d/lab-nodes')).toMatchObject({ mode: 0o755 });
  });

  it('decide the image of their distribution only', async () => {
    expect(await recipeDigest('alpine')).toMatch(/^[0-9a-f]{64}$/);
    expect(await recipeDigest('alpine')).toBe(await recipeDigest('alpine'));
    expect(await recipeDigest('alpine')).not.toBe(await recipeDigest('debian'));
  });
});
