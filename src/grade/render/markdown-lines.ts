import type { GradedCheck, GradedLine } from '../grade-report.js';
import { block, excerpt, prose, span } from './markdown-text.js';
import { isFailing } from './reason.js';
import { count, number } from './text.js';

/** What each outcome means for the student, in the marks table. */
const MEANING = {
  passed: '✓ passed',
  failed: '✗ not as expected',
  crashed: '✗ crashed',
  'timed-out': '✗ no answer in time',
  blocked: '– not reached',
  skipped: '○ a person marks this',
  error: '! to be graded again',
} as const;

/** A row per line of the marking scheme; one that passed stands there with its proof. */
export function marksTable(lines: readonly GradedLine[]): string[] {
  return [
    '| Line | Result | Marks | What the test saw |',
    '|---|---|--:|---|',
    ...lines.map((line) => {
      const marks = isOpen(line)
        ? `– of ${number(line.max)}`
        : `${number(line.marks)} of ${number(line.max)}`;
      return `| ${prose(line.title)} | ${MEANING[line.outcome]} | ${marks} | ${inTable(line)} |`;
    }),
  ];
}

function isOpen({ outcome }: GradedLine): boolean {
  return outcome === 'skipped' || outcome === 'error';
}

function inTable(line: GradedLine): string {
  if (isFailing(line)) return prose(line.fact ?? 'see below');
  const proof = line.evidence[0] ?? line.checks[0]?.evidence[0];
  return proof === undefined ? '' : prose(proof.replace(/^proof: /, ''));
}

/** A section for a line that lost marks: expected, seen, the code, the likely cause, how to see it again. */
export function failingLine(line: GradedLine): string[] {
  if (line.outcome === 'blocked') return blockedLine(line);
  const checks = line.checks.filter(isFailing);
  return [
    '',
    `### ${prose(line.title)}`,
    '',
    `${number(line.marks)} of ${count(line.max, 'mark')}.${WHOSE[line.blame ?? 'submission']}`,
    '',
    ...expected(line, checks),
    `- **Seen:** ${prose(line.fact ?? MEANING[line.outcome])}`,
    ...(line.hint === undefined ? [] : [`- **Likely cause, and what to do:** ${prose(line.hint)}`]),
    ...(line.evidence.length === 0 ? [] : ['', ...block(line.evidence)]),
    ...checks.filter((check) => !repeats(check, line)).flatMap(failingCheck),
    ...line.code.flatMap((code) => ['', ...excerpt(code)]),
    '',
    'To see it yourself:',
    '',
    ...block([line.reproduce], 'sh'),
  ];
}

function blockedLine({ title, max, fact, evidence }: GradedLine): string[] {
  return [
    '',
    `### ${prose(title)}`,
    '',
    `Could not be tested, so 0 of ${count(max, 'mark')}: ${prose(fact ?? 'it builds on what did not pass')}`,
    ...(evidence.length === 0 ? [] : ['', ...block(evidence)]),
    '',
    'Repair what stands above first; this is tested once that works.',
  ];
}

const WHOSE = {
  submission: '',
  host: ' This is a fault of the machine that graded, not yours: nothing was charged, and it will be graded again.',
  user: ' The grading was set up wrongly; tell the person who graded.',
} as const;

function expected(line: GradedLine, checks: readonly GradedCheck[]): string[] {
  const titles = checks.length === 0 ? [line.title] : checks.map(({ title, on }) => `${title} (${on})`);
  return [...new Set(titles)].map((title) => `- **Expected:** ${prose(title)}`);
}

/** Whether a check says nothing that its line does not say already. */
function repeats({ fact, evidence }: GradedCheck, line: GradedLine): boolean {
  return (fact === undefined || fact === line.fact) && evidence.every((text) => line.evidence.includes(text));
}

function failingCheck({ id, on, fact, hint, evidence, outcome }: GradedCheck): string[] {
  return [
    '',
    `Check ${span(id)} on ${prose(on)}: ${prose(fact ?? MEANING[outcome])}`,
    ...(hint === undefined ? [] : ['', `Likely cause: ${prose(hint)}`]),
    ...(evidence.length === 0 ? [] : ['', ...block(evidence)]),
  ];
}
