import { quoteForShell } from '../../../guest/command.js';
import { type CheckContext, CheckFailure, expectEqual } from '../../../lab/check.js';
import { expectNoLeaks, noKmemleak } from '../../../lab/kmemleak.js';
import type { LineCheck, ModuleSetup } from '../../../lab/module-checks.js';
import { Choice } from '../choice.js';
import { GuestModule, withModule } from '../guest-module.js';
import { runIoctlProbe } from '../ioctl-probe.js';
import { eventsOf } from '../keyboard-events.js';
import { type LoadedKeyboard, withKeyboard } from '../keyboard-module.js';
import { Readers } from '../readers.js';
import { codesOf, keys, plainKeys, type Stroke, typed } from '../scan-codes.js';

const NODE = '/dev/keyboard';
const COUNTERS = '/sys/class/misc/keyboard';
/** Bytes that our module keeps for a reader that does not read. */
const QUEUE = 1024;
/** Milliseconds in which nothing is pressed. */
const QUIET = 250;
const ROUNDS = 10;

/** What our modules promise beyond the exercise; no hand-in is asked for it. */
export function extraChecks(setup: ModuleSetup): LineCheck[] {
  const common = { line: 'extras', deadline: 30_000 };
  const keyboard = { ...common, machine: 'keyboard', needs: ['keyboard-codes'] };
  const within = (use: (keyboard: LoadedKeyboard) => Promise<void>) => (context: CheckContext) =>
    withKeyboard(context, setup, use);
  return [
    {
      ...keyboard,
      id: 'keyboard-poll',
      title: 'poll() waits, and tells when there is something to read',
      run: within(polled),
    },
    {
      ...keyboard,
      id: 'keyboard-overflow',
      title: `${QUEUE} bytes are kept for a reader that does not read; the loss of more is told, in its place`,
      run: within(overflow),
    },
    {
      ...keyboard,
      id: 'keyboard-counters',
      title: `only root may open ${NODE}; its counters count`,
      run: within(counters),
    },
    {
      ...common,
      machine: 'ioctl_test',
      needs: ['ioctl-fields'],
      id: 'ioctl-escapes',
      title: 'characters that are not printable are logged as escape sequences',
      run: (context) => escapes(context, setup),
    },
    {
      ...common,
      machine: 'hello',
      id: 'modinfo',
      title: 'each module carries its licence, description, version and vermagic',
      run: (context) => modinfo(context, setup),
    },
    {
      ...common,
      machine: 'keyboard',
      deadline: 60_000,
      id: 'modules-leak',
      title: `${ROUNDS} times loaded, used and unloaded, the modules lose no memory`,
      skip: noKmemleak,
      run: (context) => leaks(context, setup),
    },
  ];
}

async function polled({ context, setup }: LoadedKeyboard): Promise<void> {
  const choice = new Choice(context.nonce, 'poll');
  await using readers = await Readers.start(context, setup, [`poll:${NODE}`, `poll:${NODE}`]);
  const strokes = typed(choice.some(keys, 5));
  await readers.press(strokes);
  for (const index of [0, 1]) await readers.expect(index, strokes, `poller ${index + 1} of 2`);
  const { state, ticks, switches } = await readers.window(0, QUIET);
  expectEqual(
    'what a poller did while nothing was pressed',
    `${state} ${ticks} ${switches <= 2}`,
    'S 0 true',
  );
  context.prove(
    `two pollers got ${strokes.length} codes; in ${QUIET} quiet ms: state S, ${switches} switches`,
  );
}

async function overflow({ context, setup }: LoadedKeyboard): Promise<void> {
  const choice = new Choice(context.nonce, 'overflow');
  await using readers = await Readers.start(context, setup, [`late:${NODE}`]);
  const strokes: Stroke[] = [];
  while (strokes.length < QUEUE + 40) strokes.push(...typed(choice.some(plainKeys, 6)));
  await readers.press(strokes);
  readers.go();
  await readers.expect(0, strokes.slice(0, QUEUE), 'a reader that did not read');
  await readers.expectError(0, 'EOVERFLOW');
  const last = typed(choice.some(keys, 3));
  await readers.press(last);
  await readers.expect(0, [...strokes.slice(0, QUEUE), ...last], 'the same reader after the loss');
  expectEqual('how often the loss was told', eventsOf(readers.events, 'error', 0).length, 1);
  const lost = strokes.length - QUEUE;
  expectEqual('bytes lost, as the module counts them', await counter(context, 'lost'), lost);
  context.prove(
    `${QUEUE} of ${strokes.length} codes, EOVERFLOW, then ${codesOf(last).length} more; ${lost} counted as lost`,
  );
}

async function counters({ context, setup }: LoadedKeyboard): Promise<void> {
  const { guest, signal } = context;
  const { stdout } = await guest.exec(['stat', '-c', '%A %U', NODE], { signal, check: true });
  expectEqual(`mode and owner of ${NODE}`, stdout.trim(), 'cr-------- root');
  await using readers = await Readers.start(context, setup, [`block:${NODE}`]);
  const strokes = typed(new Choice(context.nonce, 'counters').some(keys, 6));
  await readers.press(strokes);
  await readers.expect(0, strokes, 'the reader');
  const bytes = codesOf(strokes).length;
  expectEqual('bytes, as the module counts them', await counter(context, 'bytes'), bytes);
  const interrupts = await counter(context, 'interrupts');
  if (interrupts < 1 || interrupts > bytes)
    throw new CheckFailure(`${interrupts} interrupts for ${bytes} bytes`);
  context.prove(`${stdout.trim()}; ${bytes} bytes in ${interrupts} interrupts, none lost`);
}

async function escapes(context: CheckContext, setup: ModuleSetup): Promise<void> {
  await withModule(context, setup, 'ioctl_test', async (module) => {
    await module.insert();
    for (const [byte, shown] of [
      [0x0a, '\\012'],
      [0x00, '\\000'],
      [0x1b, '\\033'],
      [0xff, '\\377'],
    ] as const) {
      const { log } = await runIoctlProbe(context, setup, ['call', 13, byte]);
      const line = log.find((text) => text.includes('IOCTL_TEST'));
      expectEqual(`what is logged for ${byte}`, line, `ioctl: call to IOCTL_TEST (13,${shown})!`);
      context.prove(`${line}`);
    }
  });
}

async function modinfo(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const { guest, signal, prove } = context;
  for (const path of Object.values(setup.modules)) {
    const { stdout } = await guest.exec(`tr '\\0' '\\n' <${quoteForShell(path)}`, { signal, check: true });
    const value = (name: string) => new RegExp(`^${name}=(.+)$`, 'm').exec(stdout)?.[1];
    const names = ['license', 'description', 'version', 'vermagic'];
    const missing = names.filter((name) => value(name) === undefined);
    if (missing.length > 0) throw new CheckFailure(`${path} has no ${missing.join(', ')}`);
    prove(`${path}: ${names.map(value).join('; ')}`);
  }
}

async function leaks(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const modules = Object.values(setup.modules).map((path) => new GuestModule(context, path));
  const script = modules.flatMap(({ name, insmod, rmmod }) => [
    `if [ -d /sys/module/${name} ]; then ${rmmod}; loaded="$loaded ${name}"; fi`,
    `i=0; while [ $i -lt ${ROUNDS} ]; do ${insmod} || exit 1`,
    `[ ! -c ${NODE} ] || ( exec 3<${NODE} ) || exit 1`,
    `${rmmod} || exit 1; i=$((i+1)); done`,
    `case $loaded in *" ${name}"*) ${insmod} ;; esac`,
  ]);
  await expectNoLeaks(context, script.join('\n'), 50_000 * context.timeouts.scale);
}

async function counter({ guest, signal }: CheckContext, name: string): Promise<number> {
  const { stdout } = await guest.exec(['cat', `${COUNTERS}/${name}`], { signal, check: true });
  return Number(stdout);
}
