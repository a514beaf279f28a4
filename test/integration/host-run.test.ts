import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../src/host/run.js';
import { useTempFolder } from '../support/temp.js';

const folder = useTempFolder();
const timeout = 30_000;

/** A shell line that leaves a grandchild behind which holds our pipes, and says who it is. */
const WITH_GRANDCHILD = 'sleep 300 & echo $!; wait';

describe('run', () => {
  test('gives output and exit code', async () => {
    const script = 'read x; echo out $x; echo err >&2; exit 3';
    const result = await run('sh', ['-c', script], { timeout, input: 'in\n', accept: [3] });
    expect(result).toMatchObject({ exitCode: 3, stdout: 'out in\n', stderr: 'err\n' });
  });

  test('calls back for each line, and logs command and output', async () => {
    const lines: string[] = [];
    const log = join(folder.path, 'run.log');
    await run('sh', ['-c', 'echo one; echo two >&2'], { timeout, log, onLine: (line) => lines.push(line) });
    expect(lines.toSorted()).toEqual(['one', 'two']);
    expect(await readFile(log, 'utf8')).toMatch(/^\$ sh -c 'echo one; echo two >&2'\n/);
  });

  test('a failure carries the command, the code, the last lines and the log', async () => {
    const log = join(folder.path, 'fail.log');
    const script = 'i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done; exit 7';
    await expect(run('sh', ['-c', script], { timeout, log })).rejects.toMatchObject({
      code: 'run/failed',
      message: expect.stringContaining('failed with exit code 7'),
      evidence: expect.arrayContaining(['line 99', 'line 80']),
      log,
    });
  });

  test('a log for which the disk has no room ends nothing', async () => {
    const result = await run('sh', ['-c', 'echo out; echo err >&2'], { timeout, log: '/dev/full' });
    expect(result).toMatchObject({ exitCode: 0, stdout: 'out\n', stderr: 'err\n' });
  });

  test('a program that does not exist is named', async () => {
    await expect(run('no-such-program-here', [], { timeout })).rejects.toMatchObject({
      code: 'run/missing',
      message: expect.stringContaining('no-such-program-here'),
    });
  });

  test.each(['timeout', 'abort'] as const)('%s ends the whole process group at once', async (how) => {
    const stop = new AbortController();
    let grandchild = '';
    const onLine = (line: string) => {
      grandchild = line;
      if (how === 'abort') stop.abort();
    };
    const options = { timeout: how === 'timeout' ? 300 : timeout, signal: stop.signal, onLine };
    await expect(run('sh', ['-c', WITH_GRANDCHILD], options)).rejects.toMatchObject({
      code: how === 'timeout' ? 'run/timeout' : 'interrupted',
    });
    expect(grandchild).toMatch(/^\d+$/);
    await gone(Number(grandchild));
  });

  test('survives a child that does not read its input', async () => {
    const input = 'x'.repeat(10_000_000);
    expect((await run('true', [], { timeout, input })).exitCode).toBe(0);
  });
});

/** SIGKILL is delivered, but a process of the group may take a moment to be reaped by init. */
async function gone(pid: number): Promise<void> {
  for (let i = 0; i < 200 && isRunning(pid); i += 1) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(isRunning(pid)).toBe(false);
}

function isRunning(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
