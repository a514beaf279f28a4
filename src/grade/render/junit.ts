import type { GradedCheck, GradedLine, GradedSubmission, GradeReport } from '../grade-report.js';
import { number, visible, xml } from './text.js';

/**
 * JUnit XML as CI systems read it: a suite per submission, a case per line of the marking scheme. What the submission
 * lost is a failure, what the host could not do an error, what a person marks is skipped. Times in seconds.
 */
export function toGradeJUnit(report: GradeReport): string {
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="${attribute(report.lab)}" time="${seconds(report.duration)}">`,
    ...report.submissions.flatMap((submission) => suite(report, submission)),
    '</testsuites>',
    '',
  ].join('\n');
}

function suite(report: GradeReport, submission: GradedSubmission): string[] {
  const { lines } = submission;
  const total = (...kinds: Kind[]) => lines.filter((line) => kinds.includes(kindOf(line))).length;
  const time = Math.max(0, ...submission.timeline.map(({ end }) => end));
  const attributes = [
    `name="${attribute(submission.id)}"`,
    `tests="${lines.length}"`,
    `failures="${total('failure')}"`,
    `errors="${total('error')}"`,
    `skipped="${total('skipped')}"`,
    `time="${seconds(time)}"`,
    `timestamp="${attribute(report.started)}"`,
  ].join(' ');
  return [
    `  <testsuite ${attributes}>`,
    '    <properties>',
    ...properties(report, submission).map(
      ([name, value]) => `      <property name="${name}" value="${attribute(value)}"/>`,
    ),
    '    </properties>',
    ...lines.map((line) => testCase(`${report.lab}.${submission.id}`, line)),
    '  </testsuite>',
  ];
}

function properties({ sources, host }: GradeReport, { marks, digest, folder }: GradedSubmission) {
  const { late } = marks;
  return [
    ['marks', `${number(marks.got)} of ${number(marks.max)}, ${number(marks.open)} open`],
    ...(late === undefined
      ? []
      : [['late', `${late.days} days, factor ${late.factor}: ${number(late.got)}`]]),
    ['digest', digest],
    ['evidence', folder],
    ['qemu', sources.qemu.used],
    ['linux', sources.linux.used],
    ['sandboxed', String(host.sandboxed)],
  ] as [string, string][];
}

type Kind = 'passed' | 'skipped' | 'error' | 'failure';

function kindOf({ outcome }: Pick<GradedLine, 'outcome'>): Kind {
  return outcome === 'passed' || outcome === 'skipped' || outcome === 'error' ? outcome : 'failure';
}

function testCase(classname: string, line: GradedLine): string {
  const time = line.checks.reduce((sum, { duration }) => sum + duration, 0);
  const head = `    <testcase classname="${attribute(classname)}" name="${attribute(line.id)}" time="${seconds(time)}"`;
  const message = attribute([line.outcome, line.fact].filter(Boolean).join(': '));
  const body = xml(visible(bodyOf(line)));
  switch (kindOf(line)) {
    case 'passed':
      return `${head}><system-out>${body}</system-out></testcase>`;
    case 'skipped':
      return `${head}><skipped message="${message}"/><system-out>${body}</system-out></testcase>`;
    case 'error':
      return `${head}><error type="host" message="${message}">${body}</error></testcase>`;
    case 'failure':
      return `${head}><failure type="${line.outcome}" message="${message}">${body}</failure></testcase>`;
  }
}

function bodyOf(line: GradedLine): string {
  return [
    `${line.title}: ${number(line.marks)} of ${number(line.max)} marks`,
    ...(line.fact === undefined ? [] : [`seen: ${line.fact}`]),
    ...(line.blame === undefined ? [] : [`charged to: ${line.blame}`]),
    ...line.evidence,
    ...line.checks.flatMap(describeCheck),
    ...(line.hint === undefined ? [] : [`likely cause: ${line.hint}`]),
    `reproduce: ${line.reproduce}`,
  ].join('\n');
}

function describeCheck({ id, outcome, on, fact, evidence }: GradedCheck): string[] {
  const head = `${outcome}: ${id} (${on})${fact === undefined ? '' : `: ${fact}`}`;
  return [head, ...evidence.map((text) => `  ${text}`)];
}

function attribute(text: string): string {
  return xml(visible(text)).replace(/[\n\t]/g, ' ');
}

function seconds(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(3);
}
