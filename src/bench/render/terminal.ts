import type { BenchReport } from '../report.js';
import { digits, large, rate, sizeText, span, times } from './units.js';

/** The results for a terminal: a row per variant, what had to be reached, and what is doubtful. */
export function benchTable(report: BenchReport): string[] {
  const { variants, skipped, yardstick, method, bars, quality, noise } = report;
  const head = [
    'variant',
    'request',
    'bytes/s',
    '±',
    'numbers/s',
    `/ ${yardstick}`,
    '95 %',
    'p50',
    'calls',
    'accesses',
  ];
  const rows = variants.map(({ id, size, bytesPerSecond, ratio, latency, ...rest }) => [
    id,
    sizeText(size),
    rate(bytesPerSecond.median),
    `${digits((100 * bytesPerSecond.mad) / bytesPerSecond.median)} %`,
    large(rest.numbersPerSecond, ''),
    times(ratio.value),
    `${digits(ratio.low)}–${digits(ratio.high)}`,
    span(latency.p50),
    digits(rest.callsPerNumber),
    rest.accessesPerNumber === null ? '-' : digits(rest.accessesPerNumber),
  ]);
  return [
    ...align([head, ...rows]),
    '',
    `medians of ${method.rounds} rounds of ${method.seconds} s; ± median deviation; calls and accesses per number of 4 bytes`,
    ...skipped.map(({ id, reason }) => `${id} was not measured: ${reason}`),
    ...proofLines(report),
    ...quality.map(qualityLine),
    ...bars.flatMap(({ title, wanted, reached, met, limit }) => [
      `${met ? '✓' : '✗'} ${title}: ${times(reached.value)} (wanted ${times(wanted)})`,
      ...(limit === undefined ? [] : [`    ${limit}`]),
    ]),
    ...noise.map((text) => `! ${text}`),
  ];
}

/** Numbers to the right, names to the left. */
function align(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  '),
  );
}

function proofLines({ variants }: BenchReport): string[] {
  const wrong = variants.filter(({ proof }) => proof.agrees === false);
  const right = variants.filter(({ proof }) => proof.agrees === true);
  return [
    ...wrong.map(({ id, proof }) => `✗ ${id}: guest and device disagree: ${proof.text}`),
    ...(right.length > 0
      ? [`✓ the device counted what the guest got: ${right.map(({ id }) => id).join(', ')}`]
      : []),
  ];
}

function qualityLine({ id, tests, width }: BenchReport['quality'][number]): string {
  const failed = tests.filter(({ passed }) => !passed);
  const unknown = failed.filter(({ known }) => known === undefined);
  const passed = `${tests.length - failed.length} of ${tests.length} tests passed`;
  const which = failed.map((test) => `${test.id}${test.known === undefined ? '' : ' (known)'}`).join(', ');
  return `${unknown.length === 0 ? '✓' : '✗'} ${id}, ${width} bits: ${passed}${which === '' ? '' : `; fails ${which}`}`;
}
