/** Who has to act on a failure. A fault of the host is never charged to a submission. */
export type Blame = 'submission' | 'host' | 'user';

export interface LabErrorInit {
  /** Stable identifier, e.g. `fetch/digest-mismatch`; callers branch on this, never on message text. */
  readonly code: string;
  readonly blame: Blame;
  /** One sentence: what was awaited or attempted, where, for how long. */
  readonly fact: string;
  /** Last lines of output, expected against actual, and the like; oldest first. */
  readonly evidence?: readonly string[];
  /** Path of the full log, if one was kept. */
  readonly log?: string | undefined;
  /** One next step for the person who reads this. */
  readonly next: string;
  readonly cause?: unknown;
}

/** The only error type the library throws on purpose: the fact, the evidence, one next step. */
export class LabError extends Error {
  override readonly name = 'LabError';
  readonly code: string;
  readonly blame: Blame;
  readonly evidence: readonly string[];
  readonly log: string | undefined;
  readonly next: string;

  constructor(init: LabErrorInit) {
    super(init.fact, init.cause === undefined ? undefined : { cause: init.cause });
    this.code = init.code;
    this.blame = init.blame;
    this.evidence = init.evidence ?? [];
    this.log = init.log;
    this.next = init.next;
  }

  /** The three blocks as plain text: fact, evidence, next step. */
  format(): string {
    const blocks = [this.message];
    const evidence = this.evidence.map((line) => `  ${line}`);
    if (this.log !== undefined) evidence.push(`  full log: ${this.log}`);
    if (evidence.length > 0) blocks.push(evidence.join('\n'));
    blocks.push(`Next: ${this.next}`);
    return blocks.join('\n\n');
  }
}

/** True for the error that an aborted `AbortSignal` leads to, directly or as a cause. */
export function isAbort(error: unknown): boolean {
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    if (e.name === 'AbortError' || ('code' in e && e.code === 'interrupted')) return true;
  }
  return false;
}

/** The error with which every operation ends whose `AbortSignal` fired. */
export function interrupted(what: string): LabError {
  return new LabError({
    code: 'interrupted',
    blame: 'user',
    fact: `${what} was interrupted`,
    next: 'run the same command again; it continues where it stopped',
  });
}
