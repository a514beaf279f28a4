import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findTrouble } from '../../src/console/kernel-log.js';
import { complaintFailure, complaintsBeforeCrash, distinct } from '../../src/lab/kernel-complaints.js';

function consoleOf(...names: string[]): string {
  const folder = join(import.meta.dirname, '../fixtures/consoles');
  return names.map((name) => readFileSync(join(folder, name), 'utf8')).join('\n');
}

describe('what the kernel complains about', () => {
  test('is told once, though dmesg and the console both have it, with what to do', () => {
    const reports = findTrouble(consoleOf('atomic-sleep.log', 'atomic-sleep.log'));
    expect(distinct(reports)).toHaveLength(reports.length / 2);
    expect(distinct(reports)[0]).toBe(reports[0]);
    const failure = complaintFailure(reports);
    expect(failure?.message).toMatch(/^the kernel complains: BUG: /);
    expect(failure?.hint).toContain('may sleep');
    expect(failure?.evidence[0]).toBe(`${reports[0]?.kind}: ${reports[0]?.title}`);
  });

  test('counts what is not shown in the sentence', () => {
    const reports = findTrouble(consoleOf('oops-smap-6.12.log', 'rcu-stall.log'));
    expect(complaintFailure(reports)?.message).toMatch(/ \(and 1 more\)$/);
    expect(complaintFailure(reports)?.hint).toBe('the call trace names the function; look there');
    expect(complaintFailure([])).toBeUndefined();
  });

  test('counts before a crash only, and without what a machine that hangs says', () => {
    const before = findTrouble(consoleOf('atomic-sleep.log', 'oops-smap-6.12.log'));
    expect(new Set(complaintsBeforeCrash(before).map(({ kind }) => kind))).toEqual(new Set(['atomic-sleep']));
    expect(complaintsBeforeCrash(findTrouble(consoleOf('oops-smap-6.12.log', 'atomic-sleep.log')))).toEqual(
      [],
    );
    expect(complaintsBeforeCrash(findTrouble(consoleOf('rcu-stall.log')))).toEqual([]);
  });
});
