import type { Step } from '../../src/events.js';

export interface RecordedStep extends Step {
  readonly notes: string[];
  readonly lines: string[];
  /** `[done, total]` of each progress report. */
  readonly reports: [number, number | undefined][];
}

/** A step that keeps what it is told. */
export function quietStep(signal: AbortSignal = new AbortController().signal): RecordedStep {
  const notes: string[] = [];
  const lines: string[] = [];
  const reports: [number, number | undefined][] = [];
  return {
    id: 'test',
    signal,
    notes,
    lines,
    reports,
    progress: (done, total) => void reports.push([done, total]),
    output: (line) => void lines.push(line),
    note: (text) => void notes.push(text),
  };
}
