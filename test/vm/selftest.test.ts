import { expect, test } from 'vitest';
import type { SelftestReport } from '../../src/grade/selftest.js';
import { useCli } from './cli.js';

const { lab } = useCli();

/** A hundred and fifty hand-ins, each built and booted; the slowest of all tests. */
const HOUR = 3_600_000;

test(
  'every fixture gets the verdict that it has to get, and nothing leaves the sandbox',
  async () => {
    const { code, stdout, stderr } = await lab('selftest', 'my-rng', '--json', '--yes');
    const report = JSON.parse(stdout) as SelftestReport;
    expect(report.fixtures.filter(({ wrong }) => wrong.length > 0)).toEqual([]);
    expect(report.traces).toEqual([]);
    expect(report.neverFailed).toEqual([]);
    expect(code, stderr).toBe(0);
    const count = (kind: string) => report.fixtures.filter((fixture) => fixture.kind === kind).length;
    expect(count('good')).toBeGreaterThanOrEqual(12);
    expect(count('bad')).toBeGreaterThanOrEqual(25);
    expect(count('hostile')).toBeGreaterThanOrEqual(15);
  },
  HOUR,
);
