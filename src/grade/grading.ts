import type { Step, StepContext } from '../events.js';
import type { IntakeRules } from '../intake/rules.js';
import type { Submission } from '../intake/submission.js';
import type { Lab } from '../lab/lab.js';
import type { PrepareOptions } from '../lab/prepare.js';
import type { Timeouts } from '../timeouts.js';
import type { PristineTrees } from './fixture.js';
import type {
  BuildFileChange,
  CodeExcerpt,
  ConsoleExcerpt,
  DecodedCrash,
  GradedCheck,
  GradedSubmission,
  GradeReport,
} from './grade-report.js';
import type { Stages } from './stages.js';

/** A line of the marking scheme. */
export interface LineSpec {
  readonly id: string;
  readonly title: string;
  readonly max: number;
  /** A person marks it; the run only collects evidence. */
  readonly person?: true;
}

/** What a lab has to say about grading its hand-ins. */
export interface Grading {
  readonly lab: Lab;
  readonly lines: readonly LineSpec[];
  /** Name of the fixture that is graded as the canary: a hand-in that deserves full marks. */
  readonly golden: string;
  /** What hand-ins are expected to touch, of a lab whose hand-ins are patches of source trees. */
  readonly rules?: IntakeRules;
  /** The steps of `open`, for a display that lists them before they start. */
  readonly steps: (options: PrepareOptions) => Readonly<Record<string, string>>;
  /** Builds once what all submissions share. */
  readonly open: (options: PrepareOptions, context: StepContext, timeouts: Timeouts) => Promise<Bench>;
}

/** Everything that is ready before the first submission is looked at. */
export interface Bench {
  readonly sources: GradeReport['sources'];
  readonly trees: PristineTrees;
  /** Reads a hand-in; nothing of it is executed. `into`: empty private folder for what is kept of it. */
  readonly takeIn: (
    path: string,
    options: { readonly into: string; readonly signal: AbortSignal; readonly timeouts: Timeouts },
  ) => Promise<Submission>;
  /** Changes when the same submission could get another verdict. */
  readonly digest: string;
  /** Judges one submission. Throws a LabError blamed on the host, never one for what a student did. */
  readonly judge: (submission: Submission, run: JudgeRun) => Promise<Judged>;
}

/** What judging one submission needs of its surroundings. */
export interface JudgeRun {
  /** Folder for its logs and machines. */
  readonly dir: string;
  /** 64 bytes chosen by the host for this submission; all seeds are taken from it. */
  readonly nonce: Buffer;
  readonly stages: Stages;
  /**
   * What `make` gave for the same key in this grading, or what it gives now. For what depends on one half of a hand-in
   * alone: in a class the halves of some are the same.
   */
  readonly reuse: <T>(key: string, make: () => Promise<T>) => Promise<T>;
  /** Says at once what is known before all is: for whoever waits for one hand-in. */
  readonly tell: (text: string) => void;
  readonly step: Step;
  readonly timeouts: Timeouts;
  readonly signal: AbortSignal;
}

/** What was seen, by line; marks are given by the engine. */
export interface Judged {
  readonly lines: ReadonlyMap<string, JudgedLine>;
  readonly changes: readonly string[];
  readonly warnings: readonly string[];
  readonly buildFiles: readonly BuildFileChange[];
  readonly consoles: readonly ConsoleExcerpt[];
  readonly crashes: readonly DecodedCrash[];
}

export interface JudgedLine {
  readonly checks: readonly GradedCheck[];
  /** For lines that a person marks, and whatever else belongs to no check. */
  readonly evidence: readonly string[];
  /** Files and line numbers of the hand-in that its checks are about. */
  readonly code?: readonly CodeExcerpt[];
}

export interface GradingRequest {
  readonly grading: Grading;
  readonly bench: Bench;
  readonly handIns: readonly HandIn[];
  /** Where reports and evidence go. */
  readonly folder: string;
  /** Submissions judged at the same time. */
  readonly jobs: number;
  readonly canary: boolean;
  /** Marks of hand-ins after it are reduced. */
  readonly deadline?: Date;
  /** Hand-in time of all of them; otherwise what files and archives tell. */
  readonly handedIn?: Date;
  /** Take over what the same folder holds already. */
  readonly resume: boolean;
  readonly onGraded?: (submission: GradedSubmission, done: number, total: number) => void;
}

export interface HandIn {
  /** Unique among the hand-ins of one grading; names its folder. */
  readonly id: string;
  readonly path: string;
  /** Chooses the seeds; random unless a run is repeated. */
  readonly nonce?: Buffer;
}
