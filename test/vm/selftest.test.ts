import { expect, test } from 'vitest';
import type { SelftestReport } from '../../src/grade/selftest.js';
import { useCli } from './cli.js';

const { lab } = useCli();

/** For my-rng a hundred and fifty hand-ins, each built and booted; the slowest of all tests. */
const HOUR = 3_600_000;

/** How many fixtures of each kind there are at least. */
const LABS = [
  ['my-rng', { good: 12, bad: 25, hostile: 15 }],
  ['virtblkiosim', { good: 2, bad: 3, hostile: 1 }],
  ['kernel-modules', { good: 5, bad: 9, hostile: 4 }],
  ['vblk', { good: 3, bad: 6, hostile: 3 }],
] as const;

test.each(LABS)(
  '%s: every fixture gets the verdict that it has to get, and nothing leaves the sandbox',
  async (name, least) => {
    const { stdout, stderr } = await lab('selftest', name, '--json', '--yes');
    const report = JSON.parse(stdout) as SelftestReport;
    expect(
      report.fixtures.filter(({ wrong }) => wrong.length > 0),
      stderr,
    ).toEqual([]);
    expect(report.traces).toEqual([]);
    expect(report.unstable).toEqual([]);
    for (const [kind, count] of Object.entries(least))
      expect(report.fixtures.filter((fixture) => fixture.kind === kind).length).toBeGreaterThanOrEqual(count);
    if (name !== 'virtblkiosim') expect(report.neverFailed).toEqual([]);
  },
  HOUR,
);
