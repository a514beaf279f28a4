import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { GradeReport } from '../../src/grade/grade-report.js';
import { parseGradeReport } from '../../src/grade/render/json-schema.js';
import { handInsOf } from '../support/hand-ins.js';
import { noQemuLeft, said, useCli } from './cli.js';

const { lab, start, state } = useCli();

describe('one hand-in', () => {
  let handIn = '';
  let report: GradeReport;
  const folder = () => join(state(), 'gradings/1');

  beforeAll(async () => {
    [handIn = ''] = await handInsOf(['good/git-diff'], join(state(), 'hand-ins'));
    const { code, stdout, stderr } = await lab('grade', handIn, '--json', '--yes');
    expect(code, stderr).toBe(0);
    report = parseGradeReport(stdout);
  });

  test('a right one gets full marks, and so does the reference solution before it', () => {
    expect(report.canaries.map(({ when, outcome }) => `${when} ${outcome}`)).toEqual(['start passed']);
    const [graded] = report.submissions;
    expect(graded?.marks).toEqual({ got: 12, max: 20, open: 8 });
    expect(graded?.outcome).toBe('passed');
    expect(graded?.lines.map(({ id, outcome, marks }) => `${id} ${outcome} ${marks}`)).toEqual([
      'device-patch-applies passed 1',
      'device-repeat-seed passed 3',
      'device-registers passed 2',
      'driver-patch-applies passed 1',
      'driver-repeat-seed passed 3',
      'driver-safe-transfer passed 2',
      'report skipped 0',
      'enhancement skipped 0',
    ]);
    expect(report.host.sandboxed).toBe(true);
  });

  test('every pass stands on positive proof', () => {
    const checks = report.submissions.flatMap(({ lines }) => lines.flatMap((line) => line.checks));
    const passed = checks.filter(({ outcome }) => outcome === 'passed');
    expect(passed.length).toBeGreaterThan(20);
    for (const { id, evidence } of passed) expect(evidence.join('\n'), id).toContain('proof: ');
  });

  test('the report is there in every form', async () => {
    const names = await readdir(folder());
    expect(names).toEqual(
      expect.arrayContaining(['report.json', 'report.html', 'junit.xml', 'marks.csv', 'git-diff']),
    );
    expect(await readFile(join(folder(), 'git-diff/report.md'), 'utf8')).toContain('12 of 12 marks');
    expect(await readFile(join(folder(), 'marks.csv'), 'utf8')).toContain('git-diff,passed,12');
  });

  test('a replay gives the same verdict, from a new folder', async () => {
    const { code, stdout, stderr } = await lab('replay', join(folder(), 'git-diff'));
    expect(code, stderr).toBe(0);
    expect(stdout).toContain('The verdict is the same.');
  });

  test('evidence that was altered is not replayed', async () => {
    const file = join(folder(), 'git-diff/hand-in/qemu.patch');
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.replace('rand()', '4'));
    const { code, stderr } = await lab('replay', join(folder(), 'git-diff'));
    await writeFile(file, text);
    expect(code).toBe(2);
    expect(stderr).toContain('hand-in/qemu.patch');
  });
});

describe('many hand-ins', () => {
  test('each gets its own verdict, whatever the others are', async () => {
    const root = join(state(), 'class');
    const made = await handInsOf(
      ['bad/device-constant', 'bad/driver-raw-pointer', 'hostile/patch-leaves-tree'],
      root,
    );
    const odd = await oddHandIns(root);
    const { code, stdout, stderr } = await lab('grade', ...made, ...odd, '--no-canary', '--json');
    expect(code, stderr).toBe(1);
    const { submissions } = parseGradeReport(stdout);
    const lost = (id: string) =>
      submissions
        .find((submission) => submission.id === id)
        ?.lines.filter(({ outcome }) => !['passed', 'skipped'].includes(outcome))
        .map((line) => line.id);
    expect(lost('device-constant')).toContain('device-repeat-seed');
    expect(lost('device-constant')).not.toContain('driver-repeat-seed');
    expect(lost('driver-raw-pointer')).toEqual(['driver-safe-transfer']);
    for (const { id, marks, problems } of submissions.filter(({ input }) => odd.includes(input))) {
      expect(marks.got, id).toBe(0);
      expect(problems.length, id).toBeGreaterThan(0);
      for (const { fact, next } of problems) expect(`${fact} ${next}`).not.toMatch(/\bat .*\.(ts|js):\d+/);
    }
  });

  test('paths that do not exist are named before any work', async () => {
    const { code, stderr } = await lab('grade', join(state(), 'nobody'), '--yes');
    expect(code).toBe(2);
    expect(stderr).toContain('nobody');
    expect(stderr).not.toContain('Build QEMU');
  });

  test('a late hand-in loses a tenth a day', async () => {
    const [handIn = ''] = await handInsOf(['good/git-diff'], join(state(), 'late'));
    const times = ['--deadline', '2026-01-01T12:00:00Z', '--handed-in', '2026-01-03T11:00:00Z'];
    const { stdout } = await lab('grade', handIn, ...times, '--no-canary', '--json');
    const [graded] = parseGradeReport(stdout).submissions;
    expect(graded?.marks.late).toMatchObject({ days: 2, factor: 0.8, got: 9.6 });
  });
});

describe('interruptions', () => {
  test('a killed grading is resumed: what was graded is not graded again', async () => {
    const handIns = await handInsOf(
      ['good/git-diff', 'good/crlf', 'good/diff-urn', 'good/zip-build-products'],
      join(state(), 'resumed'),
    );
    const args = ['grade', ...handIns, '--no-canary', '--jobs', '1'];
    const killed = start(...args);
    await said(killed, '1/4');
    killed.kill('SIGKILL');
    expect(await noQemuLeft(state())).toBe(true);
    const folder = await newestGrading();
    const first = join(folder, 'git-diff/graded.json');
    const before = (await stat(first)).mtimeMs;
    const { code, stdout, stderr } = await lab(...args, '--resume');
    expect(code, stderr).toBe(0);
    expect(stdout).toContain(folder);
    expect((await stat(first)).mtimeMs).toBe(before);
    const { submissions } = parseGradeReport(await readFile(join(folder, 'report.json'), 'utf8'));
    expect(submissions.map(({ marks }) => marks.got)).toEqual([12, 12, 12, 12]);
  });

  test('Ctrl-C ends everything and says how to go on', async () => {
    const [handIn = ''] = await handInsOf(['good/xorshift'], join(state(), 'stopped'));
    const child = start('grade', handIn, '--no-canary');
    let stderr = '';
    child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk));
    await said(child, 'Grade');
    child.kill('SIGINT');
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect(code).toBe(130);
    expect(stderr).toContain('Interrupted');
    expect(await noQemuLeft(state())).toBe(true);
  });
});

async function newestGrading(): Promise<string> {
  const numbers = (await readdir(join(state(), 'gradings'))).map(Number);
  return join(state(), 'gradings', String(Math.max(...numbers)));
}

/** What arrives instead of a hand-in. */
async function oddHandIns(root: string): Promise<string[]> {
  const put = async (name: string, data: string) => {
    const path = join(root, name);
    await writeFile(path, data);
    return path;
  };
  await mkdir(join(root, 'empty-folder'), { recursive: true });
  return [
    join(root, 'empty-folder'),
    await put('empty.patch', ''),
    await put('report.patch', '%PDF-1.7\n%\u00e2\u00e3\n1 0 obj\n<<>>\nendobj\n'),
    await put('letter.txt', 'Dear grader, my dog ate the patch.\n'),
  ];
}
