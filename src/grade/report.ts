import { cpus, release } from 'node:os';
import type { CheckTarget, Outcome, Verdict } from '../lab/check.js';
import type { MachineRecord } from '../machine/record.js';
import { xml } from './render/text.js';

/** The result of one run of a lab's checks. */
export interface Report {
  readonly schema: 'lab-test/1';
  readonly lab: string;
  readonly machine: string;
  readonly profile: string;
  readonly variant: string;
  readonly accelerator: string;
  /** ISO 8601. */
  readonly started: string;
  /** Milliseconds. */
  readonly duration: number;
  readonly outcome: Outcome;
  readonly nonce: string;
  readonly made: Readonly<Record<string, string>>;
  readonly host: {
    readonly cpus: number;
    readonly cpu: string;
    readonly kernel: string;
    readonly node: string;
  };
  readonly checks: readonly Verdict[];
}

const PRECEDENCE: readonly Outcome[] = [
  'error',
  'crashed',
  'timed-out',
  'failed',
  'blocked',
  'passed',
  'skipped',
];

/** Puts the verdicts of a run together with what it ran on. */
export function makeReport(run: {
  readonly target: CheckTarget;
  readonly record: MachineRecord;
  readonly verdicts: readonly Verdict[];
  readonly started: Date;
}): Report {
  const { target, record, verdicts, started } = run;
  return {
    schema: 'lab-test/1',
    lab: target.lab,
    machine: record.name,
    profile: record.profile,
    variant: record.variant,
    accelerator: record.accelerator,
    started: started.toISOString(),
    duration: Date.now() - started.getTime(),
    outcome: overall(verdicts),
    nonce: target.nonce.toString('hex'),
    made: record.made,
    host: {
      cpus: cpus().length,
      cpu: cpus()[0]?.model ?? 'unknown',
      kernel: release(),
      node: process.version,
    },
    checks: verdicts,
  };
}

/** The outcome of a whole run: the gravest of its checks; `error` when there were none. */
export function overall(verdicts: readonly Pick<Verdict, 'outcome'>[]): Outcome {
  return PRECEDENCE.find((outcome) => verdicts.some((verdict) => verdict.outcome === outcome)) ?? 'error';
}

/** Number of checks by outcome, only those that occur, gravest first. */
export function tally(verdicts: readonly Pick<Verdict, 'outcome'>[]): [Outcome, number][] {
  return PRECEDENCE.map((outcome): [Outcome, number] => [
    outcome,
    verdicts.filter((verdict) => verdict.outcome === outcome).length,
  ]).filter(([, count]) => count > 0);
}

/** JUnit XML as CI systems read it: times in seconds, one suite, evidence in the bodies. */
export function toJUnit(report: Report): string {
  const count = (...outcomes: Outcome[]) =>
    report.checks.filter(({ outcome }) => outcomes.includes(outcome)).length;
  const attributes = [
    `name="${xml(report.lab)}"`,
    `tests="${report.checks.length}"`,
    `failures="${count('failed', 'crashed', 'timed-out', 'blocked')}"`,
    `errors="${count('error')}"`,
    `skipped="${count('skipped')}"`,
    `time="${seconds(report.duration)}"`,
    `timestamp="${xml(report.started)}"`,
  ].join(' ');
  const properties = Object.entries(report.made).map(
    ([name, value]) => `      <property name="${xml(name)}" value="${xml(value)}"/>`,
  );
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<testsuites>',
    `  <testsuite ${attributes}>`,
    '    <properties>',
    ...properties,
    '    </properties>',
    ...report.checks.map((verdict) => testCase(report.lab, verdict)),
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n');
}

function testCase(lab: string, verdict: Verdict): string {
  const head = `    <testcase classname="${xml(lab)}" name="${xml(verdict.id)}" time="${seconds(verdict.duration)}"`;
  const body = xml([...verdict.proof.map((line) => `proof: ${line}`), ...verdict.evidence].join('\n'));
  const message = xml([verdict.outcome, verdict.fact].filter(Boolean).join(': '));
  switch (verdict.outcome) {
    case 'passed':
      return `${head}><system-out>${body}</system-out></testcase>`;
    case 'skipped':
      return `${head}><skipped message="${message}"/></testcase>`;
    case 'error':
      return `${head}><error message="${message}">${body}</error></testcase>`;
    default:
      return `${head}><failure type="${verdict.outcome}" message="${message}">${body}</failure></testcase>`;
  }
}

function seconds(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(3);
}
