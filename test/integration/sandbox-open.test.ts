import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { allowUnconfined, isConfined } from '../../src/sandbox/confinement.js';
import { requireSandbox } from '../../src/sandbox/probe.js';
import { scaled } from '../../src/timeouts.js';
import { failureOf, inJail, makeTree } from '../support/jails.js';
import { useTempFolder } from '../support/temp.js';

/** A file of its own: nothing can be confined again in a process where it was once given up. */
const folder = useTempFolder();
let tree = '';

beforeAll(async () => {
  tree = await makeTree(join(folder.path, 'tree'));
});

test('without walls the tree is still an overlay, seen where it is meant to be', async () => {
  const secret = join(folder.path, 'secret');
  await writeFile(secret, 'seen');
  expect((await inJail(tree, `cat '${secret}'`)).stdout).toBe('');
  expect(isConfined()).toBe(true);
  allowUnconfined();
  expect(isConfined()).toBe(false);

  expect((await inJail(tree, `cat '${secret}'; [ -d /sys/kernel ] && echo /sys`)).stdout).toBe('seen/sys\n');
  const to = join(folder.path, 'out');
  const bound = { readOnly: [{ from: secret, at: '/run/lab-test/file' }] };
  const script = 'pwd; cat build/old /run/lab-test/file; echo new > build/new; rm build/old; exit 3';
  const { stdout, exitCode } = await inJail(tree, script, bound, { extract: { paths: ['build'], to } });
  expect([stdout, exitCode]).toEqual(['/tree\nfrom the seed\nseen', 3]);
  expect(await readFile(join(to, 'build/new'), 'utf8')).toBe('new\n');
  expect([existsSync(join(tree, 'build/new')), existsSync(join(tree, 'build/old'))]).toEqual([false, true]);
  expect([existsSync('/tree'), existsSync('/run/lab-test')]).toEqual([false, false]);

  expect((await failureOf(inJail(join(folder.path, 'nonesuch'), 'true'))).code).toBe('sandbox/setup');
  const { weaknesses } = await requireSandbox({ signal: new AbortController().signal, timeouts: scaled(1) });
  expect(weaknesses).toEqual(['nothing is confined']);
});
