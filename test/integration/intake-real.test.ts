import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { packageRoot } from '../../src/host/paths.js';
import { fit as fitPart } from '../../src/intake/fit.js';
import type { Project } from '../../src/intake/submission.js';
import { takeIn } from '../../src/intake/take-in.js';
import { intakeRules } from '../../src/labs/my-rng/grading/intake-rules.js';
import { scaled } from '../../src/timeouts.js';
import { useTempFolder } from '../support/temp.js';

const folder = useTempFolder();
const cache = join(homedir(), '.cache/lab/sources');
const base = join(packageRoot, 'patches/my-rng/submissions/base');
const skeleton = join(packageRoot, 'patches/my-rng/skeleton');
const signal = new AbortController().signal;
const timeouts = scaled(1);

/** Unpacked sources in the user's cache, which other tests do not see. */
function cached(project: Project): { tree: string; version: string } | undefined {
  const name = (existsSync(cache) ? readdirSync(cache) : []).find((entry) => entry.startsWith(`${project}-`));
  const version = /-([\d.]+)-/.exec(name ?? '')?.[1] ?? '';
  return name === undefined ? undefined : { tree: join(cache, name, 'tree'), version };
}

const [qemu, linux] = [cached('qemu'), cached('linux')];
const sources = { device: 'hw/misc/my-rng.c', driver: 'drivers/misc/my-rng.c' };

/** The reference hand-in, made by `diff -urN` on copies of the files that it touches. */
function handIn(trees: Record<Project, { tree: string }>): string {
  const dir = join(folder.path, 'hand-in');
  const additions: Record<Project, Record<string, (text: string) => string>> = {
    qemu: {
      'hw/misc/Kconfig': (text) => text + readFileSync(join(skeleton, 'Kconfig.frag'), 'utf8'),
      'hw/misc/meson.build': (text) => text + readFileSync(join(skeleton, 'meson.build.frag'), 'utf8'),
    },
    linux: {
      'drivers/misc/Kconfig': (text) =>
        text.replace(
          '\nendmenu',
          `\n${readFileSync(join(packageRoot, 'patches/my-rng/driver/Kconfig.frag'), 'utf8')}endmenu`,
        ),
      'drivers/misc/Makefile': (text) => text + readFileSync(join(base, 'driver-Makefile'), 'utf8'),
      'init/main.c': (text) =>
        text.replace(
          /^\tdo_sysctl_args\(\);\n/m,
          (line) => line + readFileSync(join(base, 'main-block.c'), 'utf8'),
        ),
    },
  };
  mkdirSync(dir, { recursive: true });
  for (const project of ['qemu', 'linux'] as const) {
    const [vanilla, work] = [join(folder.path, `${project}-vanilla`), join(folder.path, 'deep/er', project)];
    for (const [path, change] of Object.entries(additions[project])) {
      const text = readFileSync(join(trees[project].tree, path), 'utf8');
      for (const [root, content] of [
        [vanilla, text],
        [work, change(text)],
      ] as const) {
        mkdirSync(dirname(join(root, path)), { recursive: true });
        writeFileSync(join(root, path), content);
      }
    }
    const [source, from] = project === 'qemu' ? [sources.device, 'device.c'] : [sources.driver, 'driver.c'];
    copyFileSync(join(base, from), join(work, source));
    const shell = `diff -urN '${vanilla}' '${work}' > '${join(dir, project)}.patch' || true`;
    execFileSync('sh', ['-c', shell]);
  }
  return dir;
}

describe('the reference hand-in against real source trees', () => {
  const missing = qemu === undefined || linux === undefined || !existsSync(join(base, 'device.c'));
  const title = missing ? 'skipped: no unpacked QEMU and Linux in the cache' : 'every part fits exactly';

  test.skipIf(missing)(title, async () => {
    if (qemu === undefined || linux === undefined) return;
    const trees = { qemu: { ...qemu, wanted: '8.2.0-rc2' }, linux: { ...linux, wanted: '6.6.4' } };
    const into = join(folder.path, 'into');
    mkdirSync(into);
    const submission = await takeIn(handIn(trees), { trees, lab: intakeRules, into, signal, timeouts });
    expect(submission.problems).toEqual([]);
    for (const project of ['qemu', 'linux'] as const) {
      const part = submission.parts[project];
      if (part === undefined) throw new Error(`no part for ${project}`);
      const fitted = await fitPart(part, trees[project].tree, { signal, timeouts });
      expect(fitted).toMatchObject({ kind: 'clean', rejects: [] });
      const [path, from] = project === 'qemu' ? [sources.device, 'device.c'] : [sources.driver, 'driver.c'];
      expect(fitted.files.get(path)?.data).toEqual(readFileSync(join(base, from)));
    }
  });
});
