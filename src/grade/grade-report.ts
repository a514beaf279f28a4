import type { Blame } from '../errors.js';
import type { Outcome } from '../lab/check.js';

/** The result of one grading: one value, rendered as JSON, JUnit, Markdown, HTML and CSV. */
export interface GradeReport {
  readonly schema: 'lab-grade/1';
  readonly lab: string;
  /** ISO 8601. */
  readonly started: string;
  /** Milliseconds, as all durations here. */
  readonly duration: number;
  readonly host: GradingHost;
  readonly sources: { readonly qemu: UsedSource; readonly linux: UsedSource; readonly guest: string };
  /** The reference solution, graded like a hand-in: what it loses is the host's fault. */
  readonly canaries: readonly Canary[];
  readonly submissions: readonly GradedSubmission[];
}

export interface GradingHost {
  readonly cpus: number;
  readonly cpu: string;
  readonly kernel: string;
  readonly node: string;
  readonly accelerator: string;
  /** False only after `--no-sandbox`: such a report is for debugging and says so everywhere. */
  readonly sandboxed: boolean;
  /** How submissions are confined, in words: namespaces and limits. */
  readonly confinement: readonly string[];
}

export interface UsedSource {
  /** The version that the exercise names. */
  readonly wanted: string;
  readonly used: string;
  /** Where it came from, in words. */
  readonly origin: string;
  readonly digest: string;
}

export interface Canary {
  readonly when: 'start' | 'end';
  readonly outcome: Outcome;
  readonly fact?: string;
  readonly duration: number;
}

/** One hand-in, judged. */
export interface GradedSubmission {
  readonly id: string;
  /** The path as it was named. */
  readonly input: string;
  /** sha256 of everything handed in. */
  readonly digest: string;
  /** The gravest outcome of its lines; lines that a person marks do not count. */
  readonly outcome: Outcome;
  readonly marks: Marks;
  readonly lines: readonly GradedLine[];
  /** What the intake changed, chose or assumed, in sentences. */
  readonly changes: readonly string[];
  /** What could not be used, with what the student should do. */
  readonly problems: readonly Problem[];
  /** Changes to build files (Makefile, meson.build, Kconfig): a grader looks at them. */
  readonly buildFiles: readonly BuildFileChange[];
  /** Compiler warnings in contributed files, `file:line:column: warning: …`. */
  readonly warnings: readonly string[];
  /** Milliseconds by stage: `intake`, `apply`, `build-device`, `bare`, …; `feedback` is the time to the first verdicts. */
  readonly timings: Readonly<Record<string, number>>;
  /** When each stage ran, relative to the start of this submission, in order. */
  readonly timeline: readonly TimelineSpan[];
  readonly consoles: readonly ConsoleExcerpt[];
  readonly crashes: readonly DecodedCrash[];
  /** Folder with the inputs' digests, command lines and logs, relative to the report. */
  readonly folder: string;
  /** Set when an identical hand-in was graded already and its result was taken over. */
  readonly sameAs?: string;
}

export interface Marks {
  readonly got: number;
  readonly max: number;
  /** Marks that a person still has to give. */
  readonly open: number;
  readonly late?: Late;
}

/** Ten per cent of the final mark for each day begun. */
export interface Late {
  /** ISO 8601. */
  readonly deadline: string;
  readonly handedIn: string;
  /** From where the hand-in time was taken: `--handed-in`, the newest file, … */
  readonly source: string;
  readonly days: number;
  /** Factor on the final mark, 0 to 1. */
  readonly factor: number;
  /** `got` times `factor`. */
  readonly got: number;
}

/** A line of the marking scheme. */
export interface GradedLine {
  readonly id: string;
  readonly title: string;
  /** `skipped` for a line that a person marks. */
  readonly outcome: Outcome;
  readonly marks: number;
  readonly max: number;
  readonly blame?: Blame;
  /** Why it did not pass, in one sentence for the student. */
  readonly fact?: string;
  /** The likely cause and what to do. */
  readonly hint?: string;
  /** Everything seen that supports the outcome; for open lines, what helps the person who marks. */
  readonly evidence: readonly string[];
  readonly checks: readonly GradedCheck[];
  /** The lines of the hand-in that this is about. */
  readonly code: readonly CodeExcerpt[];
  /** Shell command that shows the same again. */
  readonly reproduce: string;
}

/** One assertion that a line builds on. */
export interface GradedCheck {
  readonly id: string;
  readonly title: string;
  readonly outcome: Outcome;
  readonly blame?: Blame;
  readonly fact?: string;
  readonly hint?: string;
  /** `proof: …` lines and whatever else was observed. */
  readonly evidence: readonly string[];
  /** What it ran on: `student device, qtest`, `student driver on the reference device`, … */
  readonly on: string;
  readonly duration: number;
}

export interface Problem {
  readonly fact: string;
  readonly evidence: readonly string[];
  /** What the student should do. */
  readonly next: string;
}

export interface BuildFileChange {
  readonly path: string;
  /** Unified diff, or the added lines each with a leading `+`. */
  readonly diff: string;
}

export interface TimelineSpan {
  readonly stage: string;
  readonly title: string;
  readonly start: number;
  readonly end: number;
}

export interface ConsoleExcerpt {
  /** What ran: `student kernel on the reference device`. */
  readonly on: string;
  /** Lines of the serial console, capped; hostile text. */
  readonly lines: readonly string[];
  /** Index ranges of `lines` worth looking at, `to` exclusive, with why. */
  readonly marked: readonly { readonly from: number; readonly to: number; readonly why: string }[];
  /** Path of the whole log, relative to the submission's folder. */
  readonly log: string;
}

/** A kernel report (oops, warning, …) or the death of a QEMU. */
export interface DecodedCrash {
  readonly on: string;
  readonly kind: string;
  readonly title: string;
  readonly lines: readonly string[];
  /** Frames that could be decoded; `code` is there for places in the hand-in. */
  readonly frames: readonly {
    readonly symbol: string;
    readonly place?: string;
    readonly code?: CodeExcerpt;
  }[];
}

export interface CodeExcerpt {
  /** Path in the source tree: `drivers/misc/my-rng.c`. */
  readonly path: string;
  /** 1-based number of the first line. */
  readonly from: number;
  readonly lines: readonly string[];
  /** 1-based numbers, within the file, of the lines meant. */
  readonly marked: readonly number[];
}
