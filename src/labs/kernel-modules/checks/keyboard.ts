import { type CheckContext, CheckFailure, expectEqual } from '../../../lab/check.js';
import type { LineCheck, ModuleSetup } from '../../../lab/module-checks.js';
import { runLogged } from '../../../lab/run-logged.js';
import { Choice } from '../choice.js';
import type { Window } from '../keyboard-events.js';
import { type LoadedKeyboard, withKeyboard } from '../keyboard-module.js';
import { Readers } from '../readers.js';
import { codesOf, type Key, keys, plainKeys, rows, type Stroke, typed } from '../scan-codes.js';

const OF_EACH_ROW = 4;
/** Milliseconds in which nothing is pressed. */
const QUIET = 250;
const SERIES = 3;
/** In a series. */
const BURSTS = 2;
const ATTEMPTS = 8;
/** Timer interrupts in that time that are nobody's: a timer that asks every 10 ms makes 25. */
const TIMERS = 18;

/** The module `keyboard`: the codes of keys that the host presses reach those who read. */
export function keyboardChecks(setup: ModuleSetup): LineCheck[] {
  const common = { line: 'keyboard', machine: 'keyboard', deadline: 30_000 };
  const within = (use: (keyboard: LoadedKeyboard) => Promise<void>) => (context: CheckContext) =>
    withKeyboard(context, setup, use);
  const needs = ['keyboard-codes'];
  return [
    {
      ...common,
      id: 'keyboard-load',
      title: 'insmod shares the interrupt of the keyboard; rmmod gives it back',
      run: within(load),
    },
    {
      ...common,
      id: 'keyboard-codes',
      title: 'keys of four rows, chosen by the host: a reader gets their make and break codes',
      needs: ['keyboard-load'],
      run: within(codes),
    },
    {
      ...common,
      id: 'keyboard-more-keys',
      deadline: 60_000,
      title: 'so do the other keys, those with the prefix 0xe0, and keys held together',
      needs,
      run: within(moreKeys),
    },
    {
      ...common,
      id: 'keyboard-bursts',
      deadline: 60_000,
      title: 'bursts and pauses lose nothing and change no order',
      needs,
      run: within(bursts),
    },
    {
      ...common,
      id: 'keyboard-waits',
      title: 'a reader sleeps until a key is pressed; the interrupts count the keys',
      needs,
      run: within(waits),
    },
    {
      ...common,
      id: 'keyboard-readers',
      title: 'three readers get every code each, a later one all from then on',
      needs,
      run: within(several),
    },
    {
      ...common,
      id: 'keyboard-program',
      title: 'the user program shows the codes',
      needs,
      skip: () =>
        setup.programs['keyboard-reader'] === undefined ? 'no user program was handed in' : undefined,
      run: within(userProgram),
    },
  ];
}

async function load({ context, module, place }: LoadedKeyboard): Promise<void> {
  const loaded = await interruptLine(context);
  await module.remove();
  const without = await interruptLine(context);
  const added = loaded.owners.filter((owner) => !without.owners.includes(owner));
  if (loaded.owners.length !== without.owners.length + 1) {
    const evidence = [`loaded:   ${loaded.owners.join(', ')}`, `unloaded: ${without.owners.join(', ')}`];
    const hint = 'request_irq(1, …, IRQF_SHARED, …) adds a handler; free_irq takes it away';
    throw new CheckFailure('the module has no handler of its own at the keyboard interrupt', evidence, hint);
  }
  context.prove(
    `/proc/interrupts, line 1: ${loaded.owners.join(', ')} (${added.join(', ')} while loaded); read: ${place}`,
  );
}

async function codes({ context, setup, place }: LoadedKeyboard): Promise<void> {
  const choice = new Choice(context.nonce, 'codes');
  await using readers = await Readers.start(context, setup, [place]);
  const strokes = typed(
    choice.some(
      rows.flatMap((row) => choice.some(row, OF_EACH_ROW)),
      rows.length * OF_EACH_ROW,
    ),
  );
  await readers.press(strokes, 1);
  const form = await readers.expect(0, strokes, 'the reader');
  context.prove(`${namesOf(strokes)}: ${strokes.length} codes, as ${form}`);
}

async function moreKeys(keyboard: LoadedKeyboard): Promise<void> {
  await atLeastOnce(keyboard, 'more keys', async (choice, readers) => {
    const inRows = rows.flat();
    const plain = choice.some(
      plainKeys.filter((key) => !inRows.includes(key)),
      5,
    );
    const extended = choice.some(
      keys.filter((key) => key.extended),
      5,
    );
    const held = choice.some(inRows, 3);
    const together: Stroke[] = [
      ...held.map((key) => ({ key, down: true })),
      ...choice.some(held, 3).map((key) => ({ key, down: false })),
    ];
    const strokes = [...typed(choice.some([...plain, ...extended], 10)), ...together];
    await readers.press(strokes, 1);
    await readers.expect(0, strokes, 'the reader');
    return `${namesOf(strokes)}; held together: ${held.map(({ name }) => name).join(' ')}`;
  });
}

async function bursts(keyboard: LoadedKeyboard): Promise<void> {
  for (let series = 1; series <= SERIES; series += 1) {
    await atLeastOnce(keyboard, `bursts ${series}`, async (choice, readers) => {
      const strokes: Stroke[] = [];
      for (let i = 0; i < BURSTS; i += 1) {
        const next = typed(choice.some(keys, 2 + choice.below(3)));
        strokes.push(...next);
        await readers.press(next);
      }
      await readers.expect(0, strokes, 'the reader');
      return `${strokes.length} strokes in ${BURSTS} bursts: ${codesOf(strokes).length} bytes`;
    });
  }
}

/**
 * Bytes that follow each other by a millisecond are a race for a handler that reads port 0x60 a second time, and a busy
 * host may lose it. So a module has to get everything once in some attempts; one that is too slow, or forgets the
 * prefix, never does.
 */
async function atLeastOnce(
  keyboard: LoadedKeyboard,
  label: string,
  attempt: (choice: Choice, readers: Readers) => Promise<string>,
): Promise<void> {
  const { context } = keyboard;
  for (let left = ATTEMPTS - 1; ; left -= 1) {
    try {
      return context.prove(await once(keyboard, `${label} ${left}`, attempt));
    } catch (error) {
      if (left === 0 || !(error instanceof CheckFailure)) throw error;
      context.note([`an attempt failed: ${error.message}`, ...error.evidence].join('; '));
    }
  }
}

async function once(
  { context, setup, place }: LoadedKeyboard,
  label: string,
  attempt: (choice: Choice, readers: Readers) => Promise<string>,
): Promise<string> {
  await using readers = await Readers.start(context, setup, [place]);
  return await attempt(new Choice(context.nonce, label), readers);
}

/**
 * Without a key nobody may run: neither the reader, nor, in the name of the module, a timer. The timer interrupts of the
 * whole machine are compared with those without the module.
 */
async function waits({ context, setup, module, place }: LoadedKeyboard): Promise<void> {
  const choice = new Choice(context.nonce, 'waits');
  await module.remove();
  const without = await quietWindow(context, setup, []);
  await module.insert();
  await using readers = await Readers.start(context, setup, [place]);
  const first = typed(choice.some(rows.flat(), 3));
  await readers.press(first, 1);
  await readers.expect(0, first, 'the reader');
  const quiet = await interruptLine(context);
  const window = await readers.window(0, QUIET);
  expectSleep(window);
  expectNoTimer(window, without);
  expectEqual(
    'the interrupts while no key was pressed',
    (await interruptLine(context)).count - quiet.count,
    0,
  );
  const more = typed(choice.some(rows.flat(), 5));
  await readers.press(more, 1);
  await readers.expect(0, [...first, ...more], 'the reader');
  const interrupts = (await interruptLine(context)).count - quiet.count;
  if (interrupts < more.length) {
    throw new CheckFailure('there were fewer interrupts than codes', [`${interrupts} for ${more.length}`]);
  }
  context.prove(
    `${shownWindow(window)}, no interrupt; then ${interrupts} interrupts for ${more.length} codes`,
  );
}

async function quietWindow(context: CheckContext, setup: ModuleSetup, places: string[]): Promise<Window> {
  await using readers = await Readers.start(context, setup, places);
  return await readers.window(0, QUIET);
}

function expectSleep(window: Window): void {
  if (window.state === 'S' && window.ticks <= 1 && window.switches <= 2) return;
  const hint = 'read() has to sleep on a wait queue that the interrupt handler wakes';
  throw new CheckFailure('the reader does not sleep while no key is pressed', [shownWindow(window)], hint);
}

function expectNoTimer(window: Window, without: Window): void {
  if (window.timers - without.timers <= TIMERS) return;
  const evidence = [`loaded:   ${shownWindow(window)}`, `unloaded: ${without.timers} timer interrupts`];
  throw new CheckFailure('with the module loaded a timer runs though no key is pressed: it polls', evidence);
}

function shownWindow({ ms, state, ticks, switches, timers }: Window): string {
  return `in ${ms} ms without a key: state ${state}, ${ticks} ticks of CPU time, ${switches} switches, ${timers} timer interrupts`;
}

async function several({ context, setup, place }: LoadedKeyboard): Promise<void> {
  const choice = new Choice(context.nonce, 'several');
  await using readers = await Readers.start(context, setup, [place, place, place]);
  const before = typed(choice.some(plainKeys, 5));
  await readers.press(before, 1);
  await using later = await Readers.start(context, setup, [place]);
  const after = typed(choice.some(plainKeys, 5));
  await later.press(after, 1);
  for (const index of [0, 1, 2]) {
    await readers.expect(index, [...before, ...after], `reader ${index + 1} of 3`);
  }
  await later.expect(0, after, 'the reader that came later');
  context.prove(
    `${before.length + after.length} strokes at three readers, the last ${after.length} at a fourth`,
  );
}

async function userProgram({ context, setup }: LoadedKeyboard): Promise<void> {
  const choice = new Choice(context.nonce, 'program');
  await using readers = await Readers.start(context, setup, [`run:${setup.programs['keyboard-reader']}`]);
  const strokes = typed(choice.some(plainKeys, 8));
  await readers.press(strokes, 1);
  const form = await readers.expect(0, strokes, 'the program');
  expectSleep(await readers.window(0, QUIET));
  context.prove(`${namesOf(strokes)}: shown as ${form}`);
}

/** The keyboard's line of /proc/interrupts, all processors together. */
async function interruptLine(context: CheckContext): Promise<{ count: number; owners: string[] }> {
  const { stdout } = await runLogged(context, 'grep "^ *1:" /proc/interrupts');
  const match = /^ *1:((?: +\d+)+) +\S+ +\S+ +(.*)$/m.exec(stdout);
  if (match === null) throw new CheckFailure('/proc/interrupts has no line for interrupt 1', [stdout]);
  const counts = (match[1] ?? '').trim().split(/ +/).map(Number);
  return { count: counts.reduce((sum, n) => sum + n, 0), owners: (match[2] ?? '').split(', ') };
}

function namesOf(strokes: readonly Stroke[]): string {
  const names = strokes.filter(({ down }) => down).map(({ key }: { key: Key }) => key.name);
  return names.join(' ');
}
