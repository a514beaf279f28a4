import { quoteForShell } from '../../../guest/command.js';
import { type CheckContext, CheckFailure, expectEqual, expectTrue } from '../../../lab/check.js';
import { LiveProgram } from '../../../lab/live-program.js';
import type { LineCheck, ModuleSetup } from '../../../lab/module-checks.js';
import { Choice } from '../choice.js';
import { withModule } from '../guest-module.js';
import { type LoadedKeyboard, withKeyboard } from '../keyboard-module.js';
import { Readers } from '../readers.js';
import { plainKeys, rows, type Stroke, typed } from '../scan-codes.js';

const RELOADS = 50;
/** Milliseconds in which an rmmod that is going to be refused has been refused. */
const REFUSED = 250;

/**
 * What the module `keyboard` must not do to others, and how it goes. Which codes a reader gets is judged by the other
 * checks; wrong ones are not charged twice.
 */
export function keyboardSafetyChecks(setup: ModuleSetup): LineCheck[] {
  const common = { line: 'keyboard-safety', machine: 'keyboard-unload', deadline: 30_000 };
  const within = (use: (keyboard: LoadedKeyboard) => Promise<void>) => (context: CheckContext) =>
    withKeyboard(context, setup, use);
  return [
    {
      ...common,
      machine: 'keyboard',
      id: 'keyboard-others',
      title:
        'the input layer gets every key before, while and after the module is loaded, also when held over it',
      run: (context) => others(context, setup),
    },
    {
      ...common,
      id: 'keyboard-unload-unused',
      title: 'rmmod when no key was pressed, and when nobody has read',
      run: within(unloadUnused),
    },
    {
      ...common,
      id: 'keyboard-unload-held',
      title: 'rmmod while keys are held down; their release is nobody’s trouble',
      needs: ['keyboard-unload-unused'],
      run: within(unloadHeld),
    },
    {
      ...common,
      id: 'keyboard-unload-open',
      title: 'rmmod while a reader waits is refused, or ends once it has read',
      needs: ['keyboard-unload-unused'],
      run: within(unloadOpen),
    },
    {
      ...common,
      id: 'keyboard-reload',
      title: `${RELOADS} times loaded and unloaded while keys arrive; then a reader gets something`,
      needs: ['keyboard-unload-held'],
      run: within(reload),
    },
  ];
}

async function others(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const choice = new Choice(context.nonce, 'others');
  const [a, b] = choice.some(rows.flat(), 2).map((key) => ({ key }));
  if (a === undefined || b === undefined) return;
  await withModule(context, setup, 'keyboard', async (module) => {
    await using readers = await Readers.start(context, setup, []);
    const some = () =>
      typed(
        choice.some(
          plainKeys.filter(({ name }) => name !== a.key.name && name !== b.key.name),
          6,
        ),
      );
    const phases: [() => Promise<unknown>, Stroke[]][] = [
      [async () => {}, [...some(), { ...a, down: true }]],
      [() => module.insert(), [{ ...a, down: false }, ...some(), { ...b, down: true }]],
      [() => module.remove(), [{ ...b, down: false }, ...some()]],
    ];
    for (const [change, strokes] of phases) {
      await change();
      await readers.press(strokes, 1);
    }
    context.prove(
      `${phases.map(([, strokes]) => strokes.length).join(', ')} strokes before, while and after`,
    );
  });
}

async function unloadUnused({ context, setup, module, place }: LoadedKeyboard): Promise<void> {
  await module.remove();
  await module.insert();
  {
    await using nobody = await Readers.start(context, setup, []);
    await nobody.press(typed(new Choice(context.nonce, 'unused').some(plainKeys, 4)), 1);
  }
  await module.remove();
  await module.insert();
  await (await Readers.start(context, setup, [place])).finish();
  await module.remove();
  if (await module.loaded()) throw new CheckFailure('after rmmod the module is still there');
  context.prove('unloaded without a key, after keys that nobody read, and after a reader that got none');
}

async function unloadHeld({ context, setup, module }: LoadedKeyboard): Promise<void> {
  const choice = new Choice(context.nonce, 'held');
  await using readers = await Readers.start(context, setup, []);
  const held = choice.some(rows.flat(), 3);
  await readers.press(
    held.map((key) => ({ key, down: true })),
    1,
  );
  await module.remove();
  await readers.press(
    held.map((key) => ({ key, down: false })),
    1,
  );
  await readers.press(typed(choice.some(plainKeys, 4)), 1);
  context.prove(
    `unloaded while ${held.map(({ name }) => name).join(', ')} were down; the input layer got all`,
  );
}

/** A file of /proc cannot refuse; there, rmmod waits for the read to end. */
async function unloadOpen({ context, setup, module, place }: LoadedKeyboard): Promise<void> {
  const { guest, signal } = context;
  await using readers = await Readers.start(context, setup, [place]);
  const removal = guest.exec(module.rmmod, { signal, blame: 'submission' });
  removal.catch(() => {}); // awaited below
  const { state } = await readers.window(0, REFUSED);
  const before = readers.count(0);
  await readers.press(typed(new Choice(context.nonce, 'open').some(rows.flat(), 1)), 1);
  const refused = (await removal).exitCode !== 0;
  if (refused) await readers.expectMore(0, before, 'the reader that kept the module');
  else expectGone((await readers.window(0, REFUSED)).state);
  await readers[Symbol.asyncDispose]();
  if (refused) await module.remove();
  expectTrue(!(await module.loaded()), 'it is still loaded in the end');
  context.prove(
    `with a reader in state ${state}: ${refused ? 'refused, the reader went on' : 'done'}; unloaded afterwards`,
  );
}

function expectGone(state: string): void {
  if (state !== 'S' && state !== 'D') return;
  const hint = 'set .owner = THIS_MODULE in the file operations: then an open file holds the module';
  throw new CheckFailure(
    'rmmod took the module away while a reader slept in it',
    [`its state: ${state}`],
    hint,
  );
}

async function reload(keyboard: LoadedKeyboard): Promise<void> {
  const { context, setup, module, place } = keyboard;
  const choice = new Choice(context.nonce, 'reload');
  await using readers = await Readers.start(context, setup, []);
  const round = `${module.rmmod} && ${module.insmod} || { echo failed; exit 1; }`;
  const script = `i=0; while [ $i -lt ${RELOADS} ]; do ${round}; i=$((i+1)); done; echo done`;
  await using loop = await LiveProgram.start(context, `sh -c ${quoteForShell(script)}`);
  let strokes = 0;
  for (let over = false; !over; over = loop.lines.length > 0) {
    const next = typed(choice.some(plainKeys, 3));
    await readers.press(next, 1);
    strokes += next.length;
  }
  expectEqual('how the rounds ended', loop.lines.join(' '), 'done');
  await using after = await Readers.start(context, setup, [place]);
  const last = typed(choice.some(rows.flat(), 4));
  const before = after.count(0);
  await after.press(last, 1);
  await after.expectMore(0, before, 'a reader afterwards');
  context.prove(
    `${RELOADS} rounds while ${strokes} strokes arrived; then ${after.count(0) - before} bytes at a reader`,
  );
}
