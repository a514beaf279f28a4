import { spawnSync } from 'node:child_process';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/host/paths.js';
import { run } from '../../src/host/run.js';
import { digestFile } from '../../src/host/store.js';
import { prepareAlpine } from '../../src/image/alpine.js';
import { makeExt4 } from '../../src/image/ext4.js';
import { createOverlay } from '../../src/image/overlay.js';
import { resolveImage } from '../../src/image/resolve.js';
import { readTree } from '../../src/image/tree.js';
import { scaled } from '../../src/timeouts.js';
import { alpineMissing, startAlpineMirror } from '../support/alpine-mirror.js';
import { startMirror } from '../support/http-mirror.js';
import { quietStep } from '../support/quiet-step.js';
import { useTempFolder } from '../support/temp.js';

const temp = useTempFolder();
const timeouts = scaled(1);
const options = { timeout: 30_000, env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` } };
const available = (tool: string, flag: string) =>
  spawnSync(tool, [flag], { env: { ...process.env, ...options.env } }).status === 0;
const qemuImg = available('qemu-img', '--version');
const e2fsprogs = available('debugfs', '-V');
const alpine = alpineMissing();

async function debugfs(image: string, request: string): Promise<string> {
  return (await run('debugfs', ['-R', request, image], options)).stdout;
}

describe.skipIf(!e2fsprogs)('ext4 without root', () => {
  it('keeps names, modes, owners and contents, and gives the same bytes again', async () => {
    const base = join(temp.path, 'host');
    await mkdir(join(base, 'etc/a b'), { recursive: true });
    await writeFile(join(base, 'etc/a b/c"d'), 'hello');
    await writeFile(join(base, 'etc/shadow'), 'secret');
    const tree = new Map(await readTree(base));
    const shadow = tree.get('/etc/shadow');
    if (shadow?.kind !== 'file') throw new Error('no shadow');
    tree.set(shadow.path, { ...shadow, mode: 0o640, gid: 42 });
    const images = [join(temp.path, '1.raw'), join(temp.path, '2.raw')] as const;
    for (const to of images) {
      const files = { to, script: `${to}.debugfs`, log: `${to}.log` };
      await makeExt4({ tree, ...files, sizeMiB: 64, signal: quietStep().signal, timeout: 30_000 });
    }
    expect(await digestFile(images[0])).toBe(await digestFile(images[1]));
    expect(await debugfs(images[0], 'cat "/etc/a b/c""d"')).toBe('hello');
    expect(await debugfs(images[0], 'stat /etc/shadow')).toMatch(/Mode: {2}0640[\s\S]*User: +0 +Group: +42 /);
  });

  it('reports what debugfs refused', async () => {
    const source = join(temp.path, 'gone');
    const tree = new Map([
      ['/x', { path: '/x', uid: 0, gid: 0, kind: 'file' as const, mode: 0o644, source }],
    ]);
    const to = join(temp.path, 'bad.raw');
    const files = { to, script: `${to}.debugfs`, log: `${to}.log` };
    const failing = makeExt4({ tree, ...files, sizeMiB: 64, signal: quietStep().signal, timeout: 30_000 });
    await expect(failing).rejects.toMatchObject({ code: 'image/file-system', log: files.log });
  });
});

describe('guest scripts', () => {
  it.each(['sysinit', 'services', 'shell', 'shutdown'])('%s is a valid shell script', async (name) => {
    await run('sh', ['-n', join(packageRoot, 'vm/guest/common/etc/lab', name)], options);
  });
});

describe.skipIf(!qemuImg)('createOverlay', () => {
  it('makes an overlay and leaves the base alone', async () => {
    const base = join(temp.path, 'base.qcow2');
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', base, '1M'], options);
    const before = await digestFile(base);
    const path = join(temp.path, 'overlay.qcow2');
    await createOverlay({ base, path, qemuImg: 'qemu-img' });
    await createOverlay({ base, path, qemuImg: 'qemu-img' });
    const { stdout } = await run('qemu-img', ['info', '--output=json', path], options);
    expect(JSON.parse(stdout)).toMatchObject({ format: 'qcow2', 'backing-filename': base });
    expect(await digestFile(base)).toBe(before);
  });

  it('refuses a damaged or missing base', async () => {
    const base = join(temp.path, 'damaged.qcow2');
    await writeFile(base, 'QFI\u00fbnothing more');
    const path = join(temp.path, 'never.qcow2');
    await expect(createOverlay({ base, path, qemuImg: 'qemu-img' })).rejects.toMatchObject({
      code: 'image/base-corrupt',
    });
    await expect(
      createOverlay({ base: join(temp.path, 'none'), path, qemuImg: 'qemu-img' }),
    ).rejects.toMatchObject({ code: 'image/base-missing' });
    await expect(stat(path)).rejects.toThrow();
  });
});

describe('Alpine mirrors', () => {
  it('names the known releases for an unknown one', async () => {
    const request = { version: '3.91', mirrors: [], work: temp.path };
    await expect(prepareAlpine(request, { step: quietStep(), timeouts })).rejects.toMatchObject({
      code: 'image/unknown-alpine',
      next: 'did you mean 3.19?',
    });
  });

  it('lists every mirror that did not answer', async () => {
    await using mirror = await startMirror();
    const request = { version: '3.19', mirrors: [`${mirror.url}/a`, `${mirror.url}/b/`], work: temp.path };
    const failing = prepareAlpine(request, { step: quietStep(), timeouts });
    await expect(failing).rejects.toMatchObject({
      code: 'image/no-alpine-mirror',
      evidence: expect.arrayContaining([
        expect.stringContaining(`${mirror.url}/a/v3.19`),
        expect.stringContaining(`${mirror.url}/b/v3.19`),
      ]),
    });
  });
});

describe.skipIf(alpine !== undefined || !qemuImg || !e2fsprogs)(
  `Alpine guest (${alpine ?? 'real packages'})`,
  () => {
    const request = (url: string, more = {}) => ({
      prefer: 'alpine' as const,
      alpineMirrors: [url],
      qemuImg: 'qemu-img',
      ...more,
    });

    it('is made from signed packages, and comes from the cache without a mirror', async () => {
      const mirror = await startAlpineMirror();
      const step = quietStep();
      const first = await resolveImage(request(mirror.url), { step, timeouts });
      await mirror[Symbol.asyncDispose]();
      expect(first).toMatchObject({
        distro: 'alpine',
        version: '3.19.4',
        origin: `${mirror.url}/v3.19`,
        fresh: true,
      });
      expect(first.packages).toContainEqual({ name: 'openssh-server', version: '9.6_p1-r0' });
      expect((await stat(first.path)).mode & 0o222).toBe(0);

      const again = quietStep();
      const second = await resolveImage(request(mirror.url), { step: again, timeouts });
      expect(second).toEqual({ ...first, fresh: false });
      expect(again.notes).toEqual(step.notes);

      const raw = join(temp.path, 'guest.raw');
      await run('qemu-img', ['convert', '-O', 'raw', first.path, raw], options);
      const ours = await readFile(join(packageRoot, 'vm/guest/common/etc/lab/sysinit'), 'utf8');
      expect(await debugfs(raw, 'cat /etc/lab/sysinit')).toBe(ours);
      expect(await debugfs(raw, 'stat /usr/sbin/sshd')).toMatch(/Mode: {2}0755[\s\S]*User: +0 /);
    });

    it('refuses a tampered package', async () => {
      await using mirror = await startAlpineMirror();
      const path = '/v3.19/main/x86_64/pciutils-3.10.0-r0.apk';
      const real = await readFile(join(packageRoot, '../shared/alpine', path));
      real.writeUInt8(real.readUInt8(real.length - 5000) ^ 0xff, real.length - 5000);
      mirror.serve(path, real);
      const failing = resolveImage(request(mirror.url, { sizeMiB: 256 }), { step: quietStep(), timeouts });
      await expect(failing).rejects.toMatchObject({ code: 'image/apk' });
    });

    it('refuses an index that Alpine did not sign', async () => {
      await using mirror = await startAlpineMirror();
      const path = '/v3.19/main/x86_64/APKINDEX.tar.gz';
      const real = await readFile(join(packageRoot, '../shared/alpine', path));
      real.writeUInt8(real.readUInt8(real.length - 5000) ^ 0xff, real.length - 5000);
      mirror.serve(path, real);
      const failing = resolveImage(request(mirror.url, { sizeMiB: 256 }), { step: quietStep(), timeouts });
      await expect(failing).rejects.toMatchObject({ code: 'image/apk' });
    });
  },
);
