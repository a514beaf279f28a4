import { Listr, ListrLogger, type ListrTaskWrapper, ProcessOutput } from 'listr2';
import type { StepEvent } from '../../src/events.js';

import { duration, Progress } from './progress.js';
import type { Renderer } from './renderer.js';

/** How many of the last output lines of a running step are shown. */
const TAIL = 3;

// biome-ignore lint/suspicious/noExplicitAny: listr2's renderer types are of no use here
type Task = ListrTaskWrapper<unknown, any, any>;

interface Row {
  readonly title: string;
  readonly progress: Progress;
  readonly lines: string[];
  readonly over: Promise<'done' | 'failed' | 'unused'>;
  readonly settle: (how: 'done' | 'failed' | 'unused') => void;
  task?: Task;
  began: number;
  state: string;
}

/** One line per step on a terminal, with progress, time left and the last lines of what runs. */
export class LiveDisplay implements Renderer {
  readonly #rows: Map<string, Row>;
  readonly #notes: string[] = [];
  readonly #ended: Promise<unknown>;

  constructor(steps: Readonly<Record<string, string>>) {
    this.#rows = new Map(Object.entries(steps).map(([id, title]) => [id, makeRow(title)]));
    this.#ended = this.#listr().run();
  }

  readonly emit = (event: StepEvent): void => {
    const row = this.#rows.get(event.step);
    if (row === undefined) return;
    switch (event.type) {
      case 'start':
        row.began = performance.now();
        row.state = '';
        break;
      case 'progress':
        row.state = row.progress.describe(event);
        break;
      case 'output':
        row.lines.push(event.line);
        if (row.lines.length > TAIL) row.lines.shift();
        break;
      case 'note':
        this.#notes.push(`${row.title}: ${event.text}`);
        break;
      case 'end':
        row.state = [
          event.outcome === 'cached' ? 'cached' : duration(performance.now() - row.began),
          event.detail,
        ]
          .filter(Boolean)
          .join(', ');
        row.lines.length = 0;
        row.settle(event.outcome === 'failed' ? 'failed' : 'done');
        break;
    }
    show(row);
  };

  async finish(): Promise<void> {
    for (const row of this.#rows.values()) row.settle('unused');
    await this.#ended;
    for (const note of this.#notes) process.stderr.write(`  note: ${note}\n`);
  }

  #listr(): Listr {
    const tasks = [...this.#rows.values()].map((row) => ({
      title: row.title,
      rendererOptions: { outputBar: TAIL },
      task: async (_: unknown, task: Task) => {
        row.task = task;
        show(row);
        const how = await row.over;
        if (how === 'failed') throw new Error(row.title);
        if (how === 'unused') task.skip();
      },
    }));
    const processOutput = new ProcessOutput(process.stderr, process.stderr);
    return new Listr(tasks, {
      concurrent: true,
      exitOnError: false,
      registerSignalListeners: false, // Ctrl-C is ours: listr2 would end the process in the middle of the clean-up
      rendererOptions: {
        showErrorMessage: false,
        showSkipMessage: false,
        formatOutput: 'truncate',
        logger: new ListrLogger({ useIcons: true, toStderr: [], processOutput }),
      },
    }) as Listr;
  }
}

function makeRow(title: string): Row {
  let settle: Row['settle'] = () => {};
  const over = new Promise<'done' | 'failed' | 'unused'>((resolve) => {
    settle = resolve;
  });
  return { title, progress: new Progress(), lines: [], over, settle, began: 0, state: 'waiting' };
}

function show({ task, title, state, lines }: Row): void {
  if (task === undefined) return;
  task.title = state === '' ? title : `${title} (${state})`;
  task.output = lines.join('\n');
}
