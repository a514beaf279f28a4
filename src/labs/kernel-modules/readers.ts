import { quoteForShell } from '../../guest/command.js';
import { type CheckContext, CheckFailure } from '../../lab/check.js';
import { LiveProgram } from '../../lab/live-program.js';
import type { ModuleSetup } from '../../lab/module-checks.js';
import { explain, type Form, formOf } from './code-forms.js';
import { bytesOf, eventsOf, type KeyboardEvent, parseKeyboardEvent, type Window } from './keyboard-events.js';
import { codesOf, type Stroke } from './scan-codes.js';

/** Milliseconds from a key on the host to its code at a reader, at most; it takes a few. */
const ARRIVES = 2500;
/** Milliseconds in which a program has opened what it reads; nothing tells when. */
const STARTS = 300;
/** Bytes sent without waiting. QEMU's keyboard holds 16 and drops what does not fit. */
const BURST = 12;

/**
 * Readers of the keyboard that run side by side in the guest, and the keys that the host presses for them. The input
 * layer's own reader is always among them: by its events it is known that the keyboard works for everybody else, and
 * when the guest has taken what was sent.
 */
export class Readers implements AsyncDisposable {
  readonly #context: CheckContext;
  readonly #program: LiveProgram;
  readonly #inputLayer: number;
  readonly #events: KeyboardEvent[] = [];
  readonly #sent: Stroke[] = [];
  /** What the input layer got. */
  readonly #taken: string[] = [];
  #parsed = 0;
  #looked = 0;

  /**
   * @param places arguments of keyboard-probe; reader i is the i-th of them
   * @throws CheckFailure when one of them does not open.
   */
  static async start(context: CheckContext, setup: ModuleSetup, places: readonly string[]): Promise<Readers> {
    const input = `evdev:${await inputDevice(context)}`;
    const words = [...places, input].map(quoteForShell).join(' ');
    const live = await LiveProgram.start(context, `${setup.programs['keyboard-probe']} ${words}`);
    const readers = new Readers(context, live, places.length);
    try {
      await readers.#opened();
      const program = places.findIndex((place) => place.startsWith('run:'));
      if (program >= 0) await readers.window(program, STARTS);
      return readers;
    } catch (error) {
      await live[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(context: CheckContext, program: LiveProgram, inputLayer: number) {
    this.#context = context;
    this.#program = program;
    this.#inputLayer = inputLayer;
  }

  /** Everything that the probe has reported so far. */
  get events(): readonly KeyboardEvent[] {
    for (; this.#parsed < this.#program.lines.length; this.#parsed += 1) {
      this.#events.push(parseKeyboardEvent(this.#program.lines[this.#parsed] ?? ''));
    }
    return this.#events;
  }

  /**
   * Presses and releases keys. A module that reads port 0x60 in its handler, as most hand-ins do, may take the next byte
   * from the keyboard driver when it comes too late, and on a busy host it does: keys with one byte, one at a time, are
   * safe.
   *
   * @param burst bytes sent at once; 1: each stroke waits until the guest has taken the one before
   * @throws CheckFailure when the input layer does not get them: the keyboard does not work for others.
   */
  async press(strokes: readonly Stroke[], burst: number = BURST): Promise<void> {
    for (const group of groups(strokes, burst)) {
      await send(this.#context, group);
      this.#sent.push(...group);
      try {
        await this.#inputLayerHas(this.#sent);
      } catch (error) {
        await this.#releaseAll();
        throw error;
      }
    }
  }

  /**
   * Waits until a reader has got the codes of exactly these strokes since it was opened.
   *
   * @throws CheckFailure telling what it got instead.
   */
  async expect(index: number, strokes: readonly Stroke[], who: string): Promise<Form> {
    const expected = codesOf(strokes);
    const received = () => bytesOf(this.events, index);
    try {
      return await this.#program.until(`the codes for ${who}`, ARRIVES, () => formOf(received(), expected));
    } catch (error) {
      if (!(error instanceof CheckFailure)) throw error;
      const { evidence, hint } = explain(received(), expected);
      const trouble = this.#troubleOf(index)[0] ?? hint;
      throw new CheckFailure(`${who} did not get the codes of the keys that were pressed`, evidence, trouble);
    }
  }

  /** Bytes that a reader has got so far. */
  count(index: number): number {
    return bytesOf(this.events, index).length;
  }

  /**
   * Waits until a reader has got more than `before` bytes, whichever.
   *
   * @throws CheckFailure when nothing more comes.
   */
  async expectMore(index: number, before: number, who: string): Promise<void> {
    await this.#program.until(`anything for ${who}`, ARRIVES, () => this.count(index) > before || undefined);
  }

  /** What the process of a reader did within a time in which nothing happened. */
  async window(index: number, ms: number): Promise<Window> {
    const before = eventsOf(this.events, 'window', index).length;
    this.#program.say(`window ${ms}`);
    return await this.#program.until('a look at the reader', ms + ARRIVES, () =>
      eventsOf(this.events, 'window', index).at(before),
    );
  }

  /** Lets the readers of the kind `late` begin. */
  go(): void {
    this.#program.say('go');
  }

  /** Waits until a reader was told of this error. */
  async expectError(index: number, error: string): Promise<void> {
    await this.#program.until(`${error} for reader ${index}`, ARRIVES, () =>
      eventsOf(this.events, 'error', index).find((e) => e.error === error),
    );
  }

  /** Ends all readers; their files are closed afterwards. */
  async finish(): Promise<void> {
    await this.#program.finish();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
  }

  async #opened(): Promise<void> {
    const indexes = Array.from({ length: this.#inputLayer + 1 }, (_, i) => i);
    await this.#program.until('all readers', ARRIVES, () => {
      const failed = this.events.find((e) => e.event === 'error');
      if (failed?.event === 'error') {
        throw new CheckFailure(`reader ${failed.reader}: ${failed.call} failed with ${failed.error}`);
      }
      return indexes.every((i) => eventsOf(this.events, 'opened', i).length > 0) || undefined;
    });
  }

  async #inputLayerHas(strokes: readonly Stroke[]): Promise<void> {
    const got = () => {
      const { events } = this;
      for (; this.#looked < events.length; this.#looked += 1) this.#note(events[this.#looked]);
      return this.#taken;
    };
    const expected = strokes.map(({ key, down }) => nameOf(key.event, down)).join(' ');
    const enough = () => got().length >= strokes.length || undefined;
    const late = await this.#program.until('the keys at the input layer', ARRIVES, enough).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (late !== undefined && !(late instanceof CheckFailure)) throw late;
    if (late !== undefined || got().join(' ') !== expected) {
      const evidence = [`expected: ${expected.slice(-300)}`, `got:      ${got().join(' ').slice(-300)}`];
      const hint = 'a shared handler must not take bytes that the keyboard driver has not seen yet';
      throw new CheckFailure(
        'the keyboard does not work for others: /dev/input has other keys',
        evidence,
        hint,
      );
    }
  }

  /** A key whose release was lost counts as held, and pressing it again would be no event for anybody. */
  async #releaseAll(): Promise<void> {
    for (const key of new Set(this.#sent.map((stroke) => stroke.key))) {
      await send(this.#context, [{ key, down: false }]);
    }
  }

  #note(event: KeyboardEvent | undefined): void {
    if (event?.event !== 'key' || event.reader !== this.#inputLayer || event.value === REPEATED) return;
    this.#taken.push(nameOf(event.code, event.value === 1));
  }

  /** Why a reader may have got nothing more. */
  #troubleOf(index: number): string[] {
    const errors = eventsOf(this.events, 'error', index).map(({ call, error }) =>
      error === CLOSED ? 'the program ended' : `${call}() failed with ${error}`,
    );
    const ended = eventsOf(this.events, 'ended', index).map(
      () => 'read() returned 0, the end of a file: it did not wait',
    );
    return [...errors, ...ended];
  }
}

/** Presses and releases keys at once, with nobody waiting for them. */
export async function send({ machine, signal }: CheckContext, strokes: readonly Stroke[]): Promise<void> {
  const events = strokes.map(({ key, down }) => ({
    type: 'key' as const,
    data: { down, key: { type: 'qcode' as const, data: key.name } },
  }));
  await machine.monitor.execute('input-send-event', { events }, { signal });
}

function nameOf(event: number, down: boolean): string {
  return `${event}${down ? '+' : '-'}`;
}

/** What reading a terminal gives when its program has ended. */
const CLOSED = 'EIO';

/** Value of an event by which the kernel repeats a key that is held. */
const REPEATED = 2;

/** The node of the keyboard in the guest's input layer. */
async function inputDevice({ guest, signal }: CheckContext): Promise<string> {
  const { stdout } = await guest.exec(['cat', '/proc/bus/input/devices'], { signal, check: true });
  const keyboard = stdout.split('\n\n').find((block) => /Name="AT .*keyboard"/.test(block));
  const handler = /Handlers=.*\b(event\d+)/.exec(keyboard ?? '')?.[1];
  if (handler !== undefined) return `/dev/input/${handler}`;
  throw new CheckFailure('the guest has no keyboard', stdout.split('\n'));
}

/** Groups of strokes with at most `bytes` bytes each, but at least one stroke. */
function groups(strokes: readonly Stroke[], bytes: number): Stroke[][] {
  const all: Stroke[][] = [];
  for (const stroke of strokes) {
    const last = all.at(-1);
    if (last === undefined || codesOf([...last, stroke]).length > bytes) all.push([stroke]);
    else last.push(stroke);
  }
  return all;
}
