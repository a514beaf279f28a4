import { type CheckContext, CheckFailure, expectEqual } from '../../../lab/check.js';
import type { LineCheck, ModuleSetup } from '../../../lab/module-checks.js';
import { Choice } from '../choice.js';
import { runLogged } from '../guest-module.js';
import { type LoadedKeyboard, withKeyboard } from '../keyboard-module.js';
import { Readers } from '../readers.js';
import { codesOf, type Key, keys, rows, type Stroke, typed } from '../scan-codes.js';

const OF_EACH_ROW = 4;
/** Milliseconds in which nothing is pressed. */
const QUIET = 250;

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
      title: 'so do the other keys, those with the prefix 0xe0, and keys held together',
      needs,
      run: within(moreKeys),
    },
    {
      ...common,
      id: 'keyboard-bursts',
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

async function moreKeys({ context, setup, place }: LoadedKeyboard): Promise<void> {
  const choice = new Choice(context.nonce, 'more keys');
  await using readers = await Readers.start(context, setup, [place]);
  const inRows = rows.flat();
  const plain = choice.some(
    keys.filter((key) => !key.extended && !inRows.includes(key)),
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
  context.prove(`${namesOf(strokes)}; held together: ${held.map(({ name }) => name).join(' ')}`);
}

async function bursts({ context, setup, place }: LoadedKeyboard): Promise<void> {
  const choice = new Choice(context.nonce, 'bursts');
  await using readers = await Readers.start(context, setup, [place]);
  const strokes: Stroke[] = [];
  for (let i = 0; i < 12; i += 1) {
    const next = typed(choice.some(keys, 1 + choice.below(4)));
    strokes.push(...next);
    await readers.press(next);
    if (i % 4 === 3) await readers.expect(0, strokes, 'the reader');
  }
  context.prove(`${strokes.length} strokes in 12 bursts: ${codesOf(strokes).length} bytes`);
}

async function waits({ context, setup, place }: LoadedKeyboard): Promise<void> {
  const choice = new Choice(context.nonce, 'waits');
  await using readers = await Readers.start(context, setup, [place]);
  const first = typed(choice.some(rows.flat(), 3));
  await readers.press(first, 1);
  await readers.expect(0, first, 'the reader');
  const quiet = await interruptLine(context);
  const { state, ticks, switches } = await readers.window(0, QUIET);
  if (state !== 'S' || ticks > 1 || switches > 2) {
    const evidence = [
      `in ${QUIET} ms without a key: state ${state}, ${ticks} ticks of CPU time, ${switches} switches`,
    ];
    const hint = 'read() has to sleep on a wait queue that the interrupt handler wakes';
    throw new CheckFailure('the reader does not sleep while no key is pressed', evidence, hint);
  }
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
    `in ${QUIET} ms: state S, ${ticks} ticks, ${switches} switches, no interrupt; then ${interrupts} for ${more.length} codes`,
  );
}

async function several({ context, setup, place }: LoadedKeyboard): Promise<void> {
  const choice = new Choice(context.nonce, 'several');
  await using readers = await Readers.start(context, setup, [place, place, place]);
  const before = typed(choice.some(keys, 6));
  await readers.press(before);
  await using later = await Readers.start(context, setup, [place]);
  const after = typed(choice.some(keys, 6));
  await later.press(after);
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
  // A program on a terminal may say something first, but it is ready only when it sleeps in the module.
  const asleep = await readers.window(0, QUIET);
  expectEqual('the state of the program while no key is pressed', asleep.state, 'S');
  const strokes = typed(choice.some(keys, 8));
  await readers.press(strokes, 1);
  const form = await readers.expect(0, strokes, 'the program');
  const { state, ticks } = await readers.window(0, QUIET);
  if (state !== 'S' || ticks > 2)
    throw new CheckFailure('the program does not sleep', [`state ${state}, ${ticks} ticks`]);
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
