import { visible } from '../../src/grade/render/text.js';
import type { FixtureResult, SelftestReport } from '../../src/grade/selftest.js';

/** What a self-test found, for a terminal: everything that is not as it has to be, and the counts. */
export function describeSelftest(report: SelftestReport): string[] {
  const { fixtures, traces, neverFailed, unstable, runs, duration } = report;
  const right = fixtures.filter(({ wrong }) => wrong.length === 0).length;
  const kinds = (['good', 'bad', 'hostile'] as const).map((kind) => {
    const of = fixtures.filter((fixture) => fixture.kind === kind);
    return `${kind} ${of.filter(({ wrong }) => wrong.length === 0).length}/${of.length}`;
  });
  return [
    ...fixtures.flatMap(wrongLines),
    ...traces.map(({ kind, what }) => `outside of the sandbox (${kind}): ${what}`),
    ...neverFailed.map((id) => `no bad fixture fails the check ${id}`),
    ...unstable.map((line) => `runs differ: ${line}`),
    `${right} of ${fixtures.length} fixtures as expected (${kinds.join(', ')}), ${traces.length} traces outside of the sandbox, ${runs} run${runs === 1 ? '' : 's'}, ${(duration / 1000).toFixed(0)} s`,
  ];
}

function wrongLines({ kind, name, wrong }: FixtureResult): string[] {
  return wrong.flatMap(({ line, expected, actual, fact, evidence }) => [
    `${kind}/${name}: ${line}: expected ${expected.join(' or ')}, got ${actual}${fact === '' ? '' : `: ${visible(fact)}`}`,
    ...evidence.map((text) => `    | ${text}`),
  ]);
}
