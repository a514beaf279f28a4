/** One typed stream of events from a run. The library emits them; only `tasks/` renders them. */
export type StepEvent =
  | { readonly type: 'start'; readonly step: string; readonly title: string }
  /** `done` and `total` in `unit`; `total` is absent while unknown. */
  | {
      readonly type: 'progress';
      readonly step: string;
      readonly done: number;
      readonly total?: number;
      readonly unit: 'bytes' | 'steps';
    }
  | { readonly type: 'output'; readonly step: string; readonly line: string }
  | {
      readonly type: 'end';
      readonly step: string;
      readonly outcome: 'done' | 'cached' | 'failed';
      readonly detail?: string;
    }
  /** Something the reader of the report must know: a version that differs, a fallback taken. */
  | { readonly type: 'note'; readonly step: string; readonly text: string };

/** What every long operation receives: where to report and when to stop. */
export interface StepContext {
  readonly signal: AbortSignal;
  /** Never throws and never blocks. */
  readonly emit: (event: StepEvent) => void;
}

/** The part of a context that one named step uses. */
export interface Step {
  readonly id: string;
  readonly signal: AbortSignal;
  progress(done: number, total: number | undefined, unit: 'bytes' | 'steps'): void;
  output(line: string): void;
  note(text: string): void;
}

export interface StepResult<T> {
  readonly value: T;
  readonly outcome?: 'done' | 'cached';
  readonly detail?: string;
}

/** Runs `body` as a named step: emits its start, everything it reports, and how it ended. */
export async function runStep<T>(
  context: StepContext,
  id: string,
  title: string,
  body: (step: Step) => Promise<StepResult<T>>,
): Promise<T> {
  context.emit({ type: 'start', step: id, title });
  try {
    const { value, outcome = 'done', detail } = await body(stepOf(context, id));
    context.emit({ type: 'end', step: id, outcome, ...(detail === undefined ? {} : { detail }) });
    return value;
  } catch (error) {
    context.emit({ type: 'end', step: id, outcome: 'failed' });
    throw error;
  }
}

function stepOf({ emit, signal }: StepContext, id: string): Step {
  return {
    id,
    signal,
    progress: (done, total, unit) =>
      emit({ type: 'progress', step: id, done, unit, ...(total === undefined ? {} : { total }) }),
    output: (line) => emit({ type: 'output', step: id, line }),
    note: (text) => emit({ type: 'note', step: id, text }),
  };
}
