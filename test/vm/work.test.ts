/** The guide comes first: it makes the work folder, whose copying takes long, that the rest is tried in. */
import { spawn } from 'node:child_process';
import { appendFile, cp, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { commandsIn, isAsShown } from '../support/transcript.js';
import { finished, root, said, useCli } from './cli.js';

const { lab, start, state } = useCli();
const commands = commandsIn(await readFile(join(root, 'vm/GUIDE.md'), 'utf8'));
const ours = join(root, 'patches/my-rng');
const work = (...path: string[]) => join(state(), 'checkout/my-rng-work', ...path);
const DEVICE = 'qemu/hw/misc/my-rng.c';
const DRIVER = 'linux/drivers/misc/my-rng.c';

/** Runs a line of the guide in a folder that looks like a checkout; there is no machine yet. */
async function run(command: string) {
  const cwd = join(state(), 'checkout');
  const env = { ...process.env, LAB_STATE: state(), CI: 'true' };
  return await finished(spawn('bash', ['-o', 'pipefail', '-c', command], { cwd, env, stdio: 'pipe' }));
}

describe('the guide', () => {
  let failed: string | undefined;

  beforeAll(async () => {
    await mkdir(join(state(), 'checkout'));
    for (const name of ['lab', 'patches']) await symlink(join(root, name), join(state(), 'checkout', name));
  });

  test.each(commands)('line $line: $command', async ({ command, output }) => {
    expect(failed, 'an earlier command did not do what the guide says').toBeUndefined();
    failed = command;
    const { code, stdout, stderr } = await run(command);
    const seen = isAsShown(output, stdout) ? output.join('\n') : stdout;
    expect(seen, stderr).toBe(output.join('\n'));
    expect(code, `${stdout}${stderr}`).toBe(0);
    failed = undefined;
  });
});

async function patch(...args: string[]) {
  const result = await lab('patch', work(), '--json', ...args);
  return { ...result, made: result.stdout === '' ? undefined : JSON.parse(result.stdout) };
}

describe('the skeleton', () => {
  beforeAll(async () => {
    await cp(join(ours, 'skeleton/device.c'), work(DEVICE));
    await cp(join(ours, 'skeleton/driver.c'), work(DRIVER));
  });

  test('compiles without a warning, and is no solution', async () => {
    const { code, made, stderr } = await patch('--no-canary');
    expect(code, stderr).toBe(1);
    const [graded] = made.graded.report.submissions;
    expect(graded.marks).toMatchObject({ got: 2, max: 20 });
    expect(graded.warnings).toEqual([]);
    const passed = graded.lines.filter((line: { outcome: string }) => line.outcome === 'passed');
    expect(passed.map(({ id }: { id: string }) => id)).toEqual([
      'device-patch-applies',
      'driver-patch-applies',
    ]);
    expect(made.remarks).toEqual([]);
  });

  test('made again, the folder is as it was', async () => {
    const before = await readFile(work(DRIVER), 'utf8');
    await appendFile(work(DRIVER), '/* mine */\n');
    const { code, stdout } = await lab('work', '--into', work());
    expect(code).toBe(0);
    expect(stdout).toContain('is complete; nothing was changed');
    expect(await readFile(work(DRIVER), 'utf8')).toBe(`${before}/* mine */\n`);
  });
});

describe('the solved exercise', () => {
  beforeAll(async () => {
    await cp(join(ours, 'submissions/base/device.c'), work(DEVICE));
    await cp(join(ours, 'module/my-rng.c'), work(DRIVER));
    const bootTest = await readFile(join(ours, 'submissions/base/main-block.c'), 'utf8');
    const main = await readFile(work('linux/init/main.c'), 'utf8');
    await writeFile(
      work('linux/init/main.c'),
      main.replace(/\n\t\/\*\n\t \* TODO[^/]*\*\/\n/, () => bootTest),
    );
  });

  test('gets full marks, with what a build left in the trees', async () => {
    await cp(process.execPath, work('linux/vmlinux'));
    await cp('/bin/true', work('linux/scripts/basic/fixdep'));
    await writeFile(work('linux/drivers/misc/.my-rng.o.cmd'), 'cmd\n');
    const { code, made, stderr } = await patch('--no-canary');
    expect(code, stderr).toBe(0);
    expect(made.graded.report.submissions[0].marks).toMatchObject({ got: 12, max: 20 });
    const [qemu, linux] = made.patches;
    expect(qemu.leftOut).toEqual([]);
    expect(linux.leftOut.map(({ path }: { path: string }) => path)).toEqual([
      'drivers/misc/.my-rng.o.cmd',
      'scripts/basic/fixdep',
      'vmlinux',
    ]);
    expect((await readdir(work('hand-in'))).sort()).toEqual(['linux-6.6.4.patch', 'qemu-8.2.0-rc2.patch']);
  });

  test('runs with `lab up --work`, and an edit is there after the next one', async () => {
    expect((await lab('up', '--work', work())).code).toBe(0);
    const right = await lab('test', '--filter', 'seed-known');
    expect(right.code, right.stdout).toBe(0);
    const driver = await readFile(work(DRIVER), 'utf8');
    await writeFile(work(DRIVER), driver.replace('iowrite32(seed,', 'iowrite32(seed + 1,'));
    const again = await lab('up', '--work', work());
    expect(again.stdout).toContain('is running already');
    const wrong = await lab('test', '--filter', 'seed-known');
    expect(wrong.code).toBe(1);
    expect(wrong.stdout).toContain('✗ seed-known');
    await writeFile(work(DRIVER), driver);
  });
});

describe('what is not right', () => {
  test('Windows line ends are said, and the patch is exact nevertheless', async () => {
    const device = await readFile(work(DEVICE), 'utf8');
    await writeFile(work(DEVICE), device.replaceAll('\n', '\r\n'));
    const { code, made, stderr } = await patch('--no-grade');
    expect(code, stderr).toBe(0);
    const [qemu] = made.patches;
    expect(qemu.warnings).toEqual([{ path: 'hw/misc/my-rng.c', why: expect.stringContaining('CR LF') }]);
    expect(made.remarks.join('\n')).toContain('CR LF');
    await writeFile(work(DEVICE), device);
  });

  test('a picture among the sources is refused, and the patches of before stay', async () => {
    const logo = work('qemu/hw/misc/logo.png');
    await writeFile(logo, Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 0]));
    const { code, stdout, stderr } = await patch('--no-grade');
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toContain('qemu/hw/misc/logo.png: a binary file');
    expect(await readdir(work('hand-in'))).toHaveLength(2);
    await rm(logo);
  });

  test('wrong usage is said before any work', async () => {
    const results = await Promise.all([
      lab('patch', state()),
      lab('up', '--work', state()),
      lab('up', '--work', work(), '--qemu-version', '9.0.0'),
      lab('up', 'virtblkiosim', '--work', work()),
      lab('work', 'virtblkiosim', '--into', join(state(), 'other')),
      lab('work', '--into', root),
    ]);
    expect(results.map(({ code }) => code)).toEqual([2, 2, 2, 2, 2, 2]);
    expect(await lab('work', '--only', 'qmeu')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('qemu, linux, module'),
    });
    for (const { stderr } of results) expect(stderr).toContain('Next: ');
  });

  test('Ctrl-C while a tree is copied leaves nothing half done', async () => {
    const child = start('work', '--into', join(state(), 'second'), '--only', 'linux');
    const end = finished(child);
    await said(child, 'copying Linux');
    child.kill('SIGINT');
    expect((await end).code).toBe(130);
    expect(await readdir(join(state(), 'second'))).toEqual(['lab-work.json']);
  });
});
