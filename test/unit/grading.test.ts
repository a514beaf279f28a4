import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { excerptOf } from '../../src/grade/crashes.js';
import type { GradedCheck } from '../../src/grade/grade-report.js';
import { failedToJudge, gradedOf } from '../../src/grade/graded.js';
import type { Grading, Judged } from '../../src/grade/grading.js';
import { nameHandIns } from '../../src/grade/hand-ins.js';
import { Stages } from '../../src/grade/stages.js';
import type { Submission } from '../../src/intake/submission.js';
import { placeFor } from '../../src/labs/my-rng/grading/place.js';
import { grading } from '../../src/labs/my-rng/grading.js';

describe('the machine follows the fixed address in a driver', () => {
  const address = (text: string) => placeFor([`#define BASE ${text}\n`]);

  test('the exercise’s own address, or none, leaves the machine as it is', () => {
    for (const text of ['0xfebf1000', '0xFEBF1000UL', 'BAR0']) {
      expect(address(text)).toMatchObject({ profile: { name: 'course', before: [], vga: 'std' } });
      expect(address(text).note).toBeUndefined();
    }
  });

  test.each([
    ['0xfebf2000', 'std', 1],
    ['0xfebf5000', 'std', 4],
    ['0xfebe0000', 'none', 0],
    ['0xfebe3000', 'none', 3],
  ])('%s: VGA %s, %i devices before it', (text, vga, before) => {
    const { profile, note } = address(text);
    expect([profile.vga, profile.before.length]).toEqual([vga, before]);
    expect(note).toContain(text);
  });

  test('an address that no machine has is named, and the machine stays', () => {
    expect(address('0xfe123456')).toMatchObject({ profile: { name: 'course' } });
    expect(address('0xfe123456').note).toContain('0xfe123456');
  });

  test('a comment moves nothing', () => {
    expect(placeFor(['/* was 0xfebf2000 */\n// 0xfebf3000\n']).note).toBeUndefined();
  });
});

describe('names of hand-ins', () => {
  let root = '';
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'lab-names-'));
    for (const name of ['a/smith', 'b/smith', 'a/Žižek & Ko', 'a/canary-start']) {
      await mkdir(join(root, name), { recursive: true });
    }
    await writeFile(join(root, 'smith.tar.gz'), '');
  });
  afterAll(() => rm(root, { recursive: true, force: true }));

  test('are those of the files, unique, and safe as names of folders', async () => {
    const paths = ['a/smith', 'b/smith', 'smith.tar.gz', 'a/Žižek & Ko', 'a/canary-start'];
    const handIns = await nameHandIns(paths.map((path) => join(root, path)));
    expect(handIns.map(({ id }) => id)).toEqual([
      'smith',
      'smith-2',
      'smith-3',
      'Žižek_Ko',
      'hand-in-canary-start',
    ]);
  });

  test('all that are missing are reported together', async () => {
    const missing = nameHandIns([join(root, 'no'), root, join(root, 'none')]);
    await expect(missing).rejects.toMatchObject({ code: 'grade/no-hand-in', evidence: { length: 2 } });
  });
});

describe('marks for what was seen', () => {
  const submission: Submission = {
    ...{ id: 'x', input: '/x', digest: 'd', parts: {}, changes: ['taken in'], problems: [] },
    handedIn: new Date('2026-01-02T00:00:00Z'),
  };
  const about = (request: object = {}) => ({
    request: { grading: grading as Grading, folder: '/g', ...request },
    handIn: { id: 'x', path: '/x' },
    stages: new Stages(),
  });
  const check = (id: string, more: Partial<GradedCheck> = {}): GradedCheck => ({
    ...{ id, title: id, outcome: 'passed', evidence: [`proof: ${id}`], on: 'here', duration: 1, ...more },
  });
  const judged = (lines: Record<string, GradedCheck[]>): Judged => ({
    lines: new Map(Object.entries(lines).map(([id, checks]) => [id, { checks, evidence: [] }])),
    ...{ changes: ['built'], warnings: [], buildFiles: [], consoles: [], crashes: [] },
  });

  test('a line gets its marks when all its checks passed, and none otherwise', () => {
    const bad = check('b', {
      outcome: 'failed',
      blame: 'submission',
      fact: 'no',
      hint: 'do',
      evidence: ['seen'],
    });
    const graded = gradedOf(
      submission,
      judged({ 'device-repeat-seed': [check('a')], 'device-registers': [check('a'), bad] }),
      about(),
    );
    const line = (id: string) => graded.lines.find((item) => item.id === id);
    expect(line('device-repeat-seed')).toMatchObject({ outcome: 'passed', marks: 3, evidence: ['proof: a'] });
    expect(line('device-registers')).toMatchObject({ outcome: 'failed', marks: 0, fact: 'no', hint: 'do' });
    expect(line('device-registers')?.evidence).toEqual(['seen', 'proof: a']);
    expect(graded.changes).toEqual(['taken in', 'built']);
  });

  test('a line without any check is an error of ours, never a pass', () => {
    const graded = gradedOf(submission, judged({}), about());
    const outcomes = new Set(graded.lines.map(({ outcome }) => outcome));
    expect(outcomes).toEqual(new Set(['error', 'skipped']));
    expect(graded.marks.got).toBe(0);
  });

  test('a hand-in after the deadline loses a tenth for each day begun', () => {
    const late = { deadline: new Date('2026-01-01T12:00:00Z') };
    const graded = gradedOf(submission, judged({ 'device-repeat-seed': [check('a')] }), about(late));
    expect(graded.marks.late).toMatchObject({ days: 1, factor: 0.9, got: 2.7 });
  });

  test('a fault of the host charges nobody and asks for another run', () => {
    const graded = failedToJudge(new Error('the disk is full'), about());
    expect(graded.outcome).toBe('error');
    const charged = graded.lines.filter(({ blame }) => blame === 'submission');
    expect(charged).toEqual([]);
  });
});

describe('lines of a hand-in', () => {
  const texts = new Map([['a.c', 'one\ntwo\nthree\nfour\nfive\nsix\n']]);

  test('are shown with a few around them', () => {
    expect(excerptOf(texts, 'a.c', [2])).toEqual({
      ...{ path: 'a.c', from: 1, marked: [2] },
      lines: ['one', 'two', 'three', 'four', 'five'],
    });
  });

  test('that do not exist are not shown', () => {
    expect(excerptOf(texts, 'a.c', [99])).toBeUndefined();
    expect(excerptOf(texts, 'b.c', [1])).toBeUndefined();
  });
});
