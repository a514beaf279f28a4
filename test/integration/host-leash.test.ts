import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { build } from 'esbuild';
import { expect, test } from 'vitest';
import { useTempFolder } from '../support/temp.js';

const folder = useTempFolder();
const leash = join(import.meta.dirname, '../../src/host/leash.ts');

/** Starts three groups, lets one go, prints all their ids, and waits to be killed. */
const PARENT = `
import { spawn } from 'node:child_process';
import { addToLeash, dropFromLeash } from ${JSON.stringify(leash)};
const pids = [1, 2, 3].map(() => {
  const child = spawn('sh', ['-c', 'sleep 300 & wait'], { detached: true, stdio: 'ignore' });
  addToLeash(child.pid!);
  return child.pid!;
});
dropFromLeash(pids[1]!);
console.log(pids.join(' '));
setInterval(() => {}, 1000);
`;

test('SIGKILL of the parent kills every group on the leash and none that was let go', async () => {
  const script = join(folder.path, 'parent.mjs');
  const stdin = { contents: PARENT, loader: 'ts', resolveDir: folder.path } as const;
  await build({ stdin, bundle: true, platform: 'node', format: 'esm', outfile: script });
  const parent = spawn('node', [script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface(parent.stdout), 'line')) as [string];
  const [first = 0, released = 0, third = 0] = line.split(' ').map(Number);
  try {
    expect([first, released, third].map(isRunning)).toEqual([true, true, true]);
    parent.kill('SIGKILL');
    await once(parent, 'exit');
    for (let i = 0; i < 300 && (isRunning(first) || isRunning(third)); i += 1) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect([first, released, third].map(isRunning)).toEqual([false, true, false]);
  } finally {
    process.kill(-released, 'SIGKILL');
  }
});

/** A zombie, which waits for init to collect it, does not run any more. */
function isRunning(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
}
