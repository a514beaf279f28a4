import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { run } from '../../src/host/run.js';
import { useTempFolder } from '../support/temp.js';

const folder = useTempFolder();
const root = join(import.meta.dirname, '../..');
const USER = '65534';

/** Who is no root runs the same tests as that user; root runs them for an ordinary user as well. */
test.skipIf(process.getuid?.() !== 0)(
  'everything holds for an ordinary user too',
  async ({ skip }) => {
    const home = join(folder.path, 'home');
    await mkdir(home, { recursive: true });
    await run('chmod', ['0711', folder.path], { timeout: 10_000 });
    await run('chown', [USER, home], { timeout: 10_000 });
    const become = ['--reuid', USER, '--regid', USER, '--clear-groups', 'env', '-i'];
    const settings = [
      `PATH=${process.env.PATH}`,
      `HOME=${home}`,
      `TMPDIR=${home}`,
      `XDG_CACHE_HOME=${home}/cache`,
    ];
    const as = (...command: string[]) =>
      run('setpriv', [...become, ...settings, ...command], {
        cwd: root,
        timeout: 180_000,
        accept: [0, 1, 126, 127],
      });
    const readable = await as('node', '-e', `require('node:fs').readFileSync('${root}/package.json')`);
    if (readable.exitCode !== 0) skip(`user ${USER} may not read ${root}`);
    const vitest = join(root, 'node_modules/vitest/vitest.mjs');
    const config = join(root, 'test/vitest.config.ts');
    const files = ['walls', 'files', 'limits', 'open'].map((name) => `test/integration/sandbox-${name}`);
    const options = ['--config', config, '--configLoader', 'runner', '--no-cache', '--reporter', 'json'];
    const { stdout } = await as('node', vitest, 'run', ...options, ...files);
    const report = JSON.parse(stdout.slice(stdout.indexOf('{'))) as {
      numPassedTests: number;
      testResults: { assertionResults: { status: string; fullName: string; failureMessages: string[] }[] }[];
    };
    const results = report.testResults.flatMap(({ assertionResults }) => assertionResults);
    const failed = results.filter(({ status }) => status !== 'passed');
    expect(failed.map(({ fullName, failureMessages }) => `${fullName}: ${failureMessages[0]}`)).toEqual([]);
    expect(report.numPassedTests).toBeGreaterThan(25);
  },
  200_000,
);
