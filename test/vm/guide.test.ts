import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { commandsIn, isAsShown } from '../support/transcript.js';
import { finished, root } from './cli.js';

const commands = commandsIn(await readFile(join(root, 'vm/GUIDE.md'), 'utf8'));
let dir = '';

/** Runs a line of the guide in a folder that looks like a checkout and has no state yet. */
async function run(command: string) {
  const env = { ...process.env, LAB_STATE: join(dir, '.lab'), CI: 'true' };
  return await finished(spawn('bash', ['-o', 'pipefail', '-c', command], { cwd: dir, env, stdio: 'pipe' }));
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'lab-guide-'));
  for (const name of ['lab', 'patches']) await symlink(join(root, name), join(dir, name));
});

afterAll(async () => {
  await run('./lab down --all --force');
  await rm(dir, { recursive: true, force: true });
});

describe('the guide', () => {
  let failed: string | undefined;

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
