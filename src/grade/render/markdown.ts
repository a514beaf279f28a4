import type {
  CodeExcerpt,
  DecodedCrash,
  GradedSubmission,
  GradeReport,
  Late,
  Problem,
  UsedSource,
} from '../grade-report.js';
import { failingLine, marksTable } from './markdown-lines.js';
import { block, excerpt, prose, span } from './markdown-text.js';
import { isFailing } from './reason.js';
import { count, number } from './text.js';

/** The feedback for one student: what was reached, what to repair and how to see each fault again. */
export function toStudentMarkdown(report: GradeReport, submission: GradedSubmission): string {
  const failing = submission.lines.filter(isFailing);
  const lines = [
    `# ${prose(report.lab)}: feedback for ${prose(submission.id)}`,
    '',
    ...warnings(report, submission),
    ...result(submission),
    '',
    '## Marks',
    '',
    ...marksTable(submission.lines),
    ...section('What to repair', failing.flatMap(failingLine)),
    ...section(
      'The crash',
      submission.crashes.flatMap((report) => crash(report, submission)),
    ),
    ...section('Problems with the hand-in', submission.problems.flatMap(problem)),
    ...section('Compiler warnings in your files', compilerWarnings(submission)),
    ...section('What was changed or assumed', bullets(submission.changes)),
    ...section('What a person still marks', stillOpen(submission)),
    ...section('What it was graded with', gradedWith(report, submission)),
  ];
  return `${lines.join('\n')}\n`;
}

function section(title: string, body: readonly string[]): string[] {
  return body.length === 0 ? [] : ['', `## ${title}`, ...(body[0] === '' ? [] : ['']), ...body];
}

function warnings({ host, canaries }: GradeReport, { outcome }: GradedSubmission): string[] {
  const notes: string[] = [];
  if (!host.sandboxed) notes.push('This is a trial run without a sandbox. Its marks do not count.');
  if (outcome === 'error') {
    notes.push(
      'The machine that graded had a fault. Nothing was charged for it, and this hand-in will be graded again.',
    );
  }
  if (canaries.some((canary) => canary.outcome !== 'passed')) {
    notes.push(
      'The reference solution did not pass on the same machine, so these marks are not final: please wait for the next run.',
    );
  }
  return notes.flatMap((note) => [`> **Note:** ${note}`, '']);
}

function result({ marks, lines }: GradedSubmission): string[] {
  const judged = marks.max - marks.open;
  const failing = lines.filter(isFailing).length;
  const all = failing === 0 ? ' Everything that a program can test works. Well done!' : '';
  const open = marks.open === 0 ? '' : ` A person gives up to ${number(marks.open)} more.`;
  return [
    `**${number(marks.got)} of ${count(judged, 'mark')}** so far.${open}${all}`,
    ...(marks.late === undefined ? [] : ['', latePenalty(marks.late)]),
  ];
}

function latePenalty({ deadline, handedIn, source, days, factor, got }: Late): string {
  const when = `Handed in ${prose(handedIn)} (${prose(source)}), deadline ${prose(deadline)}`;
  if (days === 0) return `${when}: on time.`;
  const percent = number((1 - factor) * 100);
  return `${when}: ${count(days, 'day')} begun, minus ${percent} %. That leaves **${count(got, 'mark')}** so far.`;
}

function crash({ on, kind, title, lines, frames }: DecodedCrash, submission: GradedSubmission): string[] {
  const shown = new Set(submission.lines.flatMap(({ code }) => code).map(placeOf));
  return [
    '',
    `${prose(kind)} on ${prose(on)}: ${span(title)}`,
    ...(frames.length === 0 ? [] : ['', 'Innermost first:', '']),
    ...frames.map(
      ({ symbol, place }) => `- ${span(symbol)}${place === undefined ? '' : ` at ${span(place)}`}`,
    ),
    ...frames.flatMap(({ code }) =>
      code === undefined || shown.has(placeOf(code)) ? [] : ['', ...excerpt(code)],
    ),
    '',
    'As the console has it:',
    '',
    ...block(lines),
  ];
}

function placeOf({ path, from, marked }: CodeExcerpt): string {
  return [path, from, ...marked].join(':');
}

function problem({ fact, evidence, next }: Problem): string[] {
  return [
    '',
    `**${prose(fact)}**`,
    ...(evidence.length === 0 ? [] : ['', ...block(evidence)]),
    '',
    `What to do: ${prose(next)}`,
  ];
}

function compilerWarnings({ warnings: found }: GradedSubmission): string[] {
  return found.length === 0 ? [] : block(found);
}

function bullets(texts: readonly string[]): string[] {
  return texts.map((text) => `- ${prose(text)}`);
}

function stillOpen({ lines }: GradedSubmission): string[] {
  return lines
    .filter(({ outcome }) => outcome === 'skipped')
    .flatMap(({ title, max, evidence }) => [
      `- ${prose(title)} (${count(max, 'mark')})`,
      ...evidence.map((text) => `  - seen: ${prose(text)}`),
    ]);
}

function gradedWith({ sources, host }: GradeReport, { input, digest }: GradedSubmission): string[] {
  const source = (name: string, { wanted, used, origin }: UsedSource) =>
    `${name} ${used}${wanted === used ? '' : ` in place of ${wanted}`} (${origin})`;
  return [
    ...bullets([source('QEMU', sources.qemu), source('Linux', sources.linux), `guest: ${sources.guest}`]),
    ...bullets([`machine: ${host.cpu}, ${host.accelerator}`]),
    `- your hand-in: ${span(input)}, sha256 ${span(digest)}`,
  ];
}
