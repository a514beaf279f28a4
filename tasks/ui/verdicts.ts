import { styleText } from 'node:util';
import { visible } from '../../src/grade/render/text.js';
import { type Report, tally } from '../../src/grade/report.js';
import type { Outcome, Verdict } from '../../src/lab/check.js';
import { shown } from './machine.js';
import { duration } from './progress.js';

const SIGN: Record<Outcome, string> = {
  passed: '✓',
  failed: '✗',
  crashed: '✗',
  'timed-out': '✗',
  blocked: '-',
  skipped: '-',
  error: '!',
};

/** One verdict: a line when it passed, with fact, evidence and hint when it did not. */
export function verdictLine(verdict: Verdict): string {
  const { id, title, outcome, fact, hint, evidence } = verdict;
  const head = `${colour(outcome, SIGN[outcome])} ${id.padEnd(26)} ${title}`;
  if (outcome === 'passed') return `${head} ${dim(`(${duration(verdict.duration)})`)}\n`;
  const quiet = outcome === 'skipped' || outcome === 'blocked';
  const blame = verdict.blame === undefined || quiet ? '' : `, charged to the ${verdict.blame}`;
  const lines = [`${head}`, `    ${outcome}${blame}: ${visible(fact ?? '')}`];
  if (!quiet)
    lines.push(...evidence.flatMap((text) => visible(text).split('\n')).map((line) => `    | ${line}`));
  if (hint !== undefined) lines.push(`    likely cause: ${hint}`);
  return `${lines.join('\n')}\n`;
}

/** The closing lines of a run. */
export function summary(report: Report, folder: string): string {
  const counts = tally(report.checks).map(([outcome, count]) => colour(outcome, `${count} ${outcome}`));
  const where = `${report.lab} on ${report.machine} (${report.profile}, ${report.variant}, ${report.accelerator})`;
  return `\n${where}: ${counts.join(', ')} in ${duration(report.duration)}\nreport: ${shown(folder)}\n`;
}

function colour(outcome: Outcome, text: string): string {
  if (outcome === 'passed') return paint('green', text);
  return paint(outcome === 'skipped' || outcome === 'blocked' ? 'yellow' : 'red', text);
}

function dim(text: string): string {
  return paint('dim', text);
}

/** No colours in pipes and files, nor where NO_COLOR is set. */
function paint(style: 'green' | 'yellow' | 'red' | 'dim', text: string): string {
  return process.stdout.isTTY === true && !process.env.NO_COLOR ? styleText(style, text) : text;
}
