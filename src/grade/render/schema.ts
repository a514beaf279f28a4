import { z } from 'zod';

const text = z.string();
const texts = z.array(text).readonly();
const isoTime = text.describe('ISO 8601');
const duration = z.number().describe('milliseconds');

const outcome = z
  .enum(['passed', 'failed', 'crashed', 'timed-out', 'blocked', 'skipped', 'error'])
  .describe('blocked: builds on what did not pass; skipped: a person marks it; error: the host failed');
const blame = z.enum(['submission', 'host', 'user']).describe('who has to act');

const late = z
  .object({
    deadline: isoTime,
    handedIn: isoTime,
    source: text.describe('from where the hand-in time was taken'),
    days: z.number().describe('days begun after the deadline'),
    factor: z.number().min(0).max(1).describe('what the final mark is multiplied with'),
    got: z.number().describe('marks after the penalty'),
  })
  .readonly();

const marks = z
  .object({
    got: z.number(),
    max: z.number(),
    open: z.number().describe('marks that a person still has to give'),
    late: late.exactOptional(),
  })
  .readonly();

const code = z
  .object({
    path: text,
    from: z.number().describe('number of the first line, from 1'),
    lines: texts,
    marked: z.array(z.number()).readonly().describe('numbers of the lines meant'),
  })
  .readonly();

const check = z
  .object({
    id: text,
    title: text,
    outcome,
    blame: blame.exactOptional(),
    fact: text.exactOptional(),
    hint: text.exactOptional(),
    evidence: texts,
    on: text.describe('what it ran on'),
    duration,
  })
  .readonly();

const line = z
  .object({
    id: text,
    title: text,
    outcome,
    marks: z.number(),
    max: z.number(),
    blame: blame.exactOptional(),
    fact: text.exactOptional().describe('why it did not pass'),
    hint: text.exactOptional().describe('the likely cause and what to do'),
    evidence: texts,
    checks: z.array(check).readonly(),
    code: z.array(code).readonly(),
    reproduce: text.describe('shell command that shows the same again'),
  })
  .readonly();

const problem = z.object({ fact: text, evidence: texts, next: text }).readonly();
const buildFile = z.object({ path: text, diff: text }).readonly();
const span = z.object({ stage: text, title: text, start: duration, end: duration }).readonly();

const excerpt = z
  .object({
    on: text,
    lines: texts.describe('untrusted text'),
    marked: z
      .array(z.object({ from: z.number(), to: z.number().describe('exclusive'), why: text }).readonly())
      .readonly(),
    log: text,
  })
  .readonly();

const frame = z.object({ symbol: text, place: text.exactOptional(), code: code.exactOptional() }).readonly();
const crash = z
  .object({ on: text, kind: text, title: text, lines: texts, frames: z.array(frame).readonly() })
  .readonly();

const submission = z
  .object({
    id: text,
    input: text,
    digest: text.describe('sha256 of everything handed in'),
    outcome: outcome.describe('the gravest outcome of its lines'),
    marks,
    lines: z.array(line).readonly(),
    changes: texts.describe('what the intake changed, chose or assumed'),
    problems: z.array(problem).readonly(),
    buildFiles: z.array(buildFile).readonly(),
    warnings: texts,
    timings: z.record(z.string(), z.number()).readonly().describe('milliseconds by stage'),
    timeline: z.array(span).readonly(),
    consoles: z.array(excerpt).readonly(),
    crashes: z.array(crash).readonly(),
    folder: text.describe('evidence folder, relative to the report'),
    sameAs: text.exactOptional().describe('id of the identical submission whose result this is'),
  })
  .readonly();

const host = z
  .object({
    cpus: z.number(),
    cpu: text,
    kernel: text,
    node: text,
    accelerator: text,
    sandboxed: z.boolean().describe('false: for debugging only'),
    confinement: texts,
  })
  .readonly();

const source = z.object({ wanted: text, used: text, origin: text, digest: text }).readonly();
const canary = z
  .object({ when: z.enum(['start', 'end']), outcome, fact: text.exactOptional(), duration })
  .readonly();

/** A `GradeReport`, as it is read back from a file. A test proves that both describe the same. */
export const gradeReport = z
  .object({
    schema: z.literal('lab-grade/1'),
    lab: text,
    started: isoTime,
    duration,
    host,
    sources: z.object({ qemu: source, linux: source, guest: text }).readonly(),
    canaries: z.array(canary).readonly(),
    submissions: z.array(submission).readonly(),
  })
  .readonly();
