import { type CheckContext, CheckFailure, expectEqual, expectErrno } from '../../../lab/check.js';
import { LiveProgram } from '../../../lab/live-program.js';
import type { LineCheck, ModuleSetup } from '../../../lab/module-checks.js';
import { type GuestModule, withModule } from '../guest-module.js';
import { type Observed, parseEvents, runIoctlProbe, type Tried } from '../ioctl-probe.js';

const ENTRY = '/proc/ioctl_test';
const LINE = 'ioctl: call to IOCTL_TEST';
const SLOTS = 4;

/** What the checks of this file work with: the module is loaded. */
interface Loaded {
  readonly context: CheckContext;
  readonly module: GuestModule;
  readonly probe: (...args: (string | number)[]) => Promise<Observed>;
}

/** The module `ioctl_test`: its entry in /proc and its ioctl. */
export function ioctlChecks(setup: ModuleSetup): LineCheck[] {
  const common = { line: 'ioctl-test', machine: 'ioctl_test', deadline: 15_000 };
  const within = (use: (loaded: Loaded) => Promise<void>) => (context: CheckContext) =>
    withModule(context, setup, 'ioctl_test', async (module) => {
      await module.insert();
      await use({ context, module, probe: (...args) => runIoctlProbe(context, setup, args) });
    });
  const needs = ['ioctl-fields'];
  return [
    {
      ...common,
      id: 'ioctl-entry',
      title: `${ENTRY} is there while it is loaded, mode 0444`,
      run: within(entry),
    },
    {
      ...common,
      id: 'ioctl-fields',
      title: 'each call logs its two fields, chosen by the host, once; an ordinary user may call',
      needs: ['ioctl-entry'],
      run: within(fields),
    },
    { ...common, id: 'ioctl-slots', title: 'the fields may lie anywhere', needs, run: within(slots) },
    {
      ...common,
      id: 'ioctl-commands',
      title: 'other commands fail with EINVAL',
      needs,
      run: within(commands),
    },
    {
      ...common,
      id: 'ioctl-pointers',
      title: 'bad addresses fail with EFAULT',
      needs,
      run: within(pointers),
    },
    {
      ...common,
      id: 'ioctl-unload',
      title:
        'rmmod with the file open is refused, or leaves a file that fails; the entry goes and comes again',
      needs,
      run: within((loaded) => unload(loaded, setup)),
    },
  ];
}

async function entry({ context, module }: Loaded): Promise<void> {
  const { guest, signal, prove } = context;
  const listed = async () => (await guest.exec(`ls -l ${ENTRY} 2>&1`, { signal })).stdout.trimEnd();
  const there = await listed();
  const mode = /^(\S{10})/.exec(there)?.[1];
  expectEqual(`the type and mode of ${ENTRY}`, mode ?? there, '-r--r--r--');
  await module.remove();
  const gone = await listed();
  if (mode === /^(\S{10})/.exec(gone)?.[1]) throw new CheckFailure('the entry outlives the module', [gone]);
  await module.insert();
  expectEqual('the mode when loaded again', /^(\S{10})/.exec(await listed())?.[1], '-r--r--r--');
  prove(`${there}; after rmmod: ${gone}`);
}

async function fields({ context, probe }: Loaded): Promise<void> {
  const { nonce } = context;
  const calls: [number, string][] = [
    [10, 'a'],
    [nonce.readInt32LE(0), letter(nonce.readUInt8(4))],
    [nonce.readInt32LE(8) | 0x4000_0000, letter(nonce.readUInt8(5))],
    [-1 - nonce.readUInt16LE(6), letter(nonce.readUInt8(12))],
  ];
  for (const [index, [number, character]] of calls.entries()) {
    const who = index % 2 === 1 ? ['-u'] : [];
    const { tried, log } = await probe(...who, 'call', number, character.charCodeAt(0));
    expectErrno('a right call', tried[0]?.error, null);
    expectEqual('what the call logged', logged(log).join('; '), lineOf(number, character));
    context.prove(`${index % 2 === 1 ? 'an ordinary user' : 'root'}: ${logged(log)[0]}`);
  }
}

async function slots({ context, probe }: Loaded): Promise<void> {
  const [number, character] = [context.nonce.readInt32LE(16), letter(context.nonce.readUInt8(20))];
  const { tried, log } = await probe('slots', number, character.charCodeAt(0));
  for (const { name, error } of tried) expectErrno(`the call with fields at "${name}"`, error, null);
  expectEqual(
    'what was logged',
    logged(log).join('; '),
    Array(SLOTS).fill(lineOf(number, character)).join('; '),
  );
  context.prove(`${tried.map(({ name }) => name).join(', ')}: ${lineOf(number, character)}`);
}

async function commands({ context, probe }: Loaded): Promise<void> {
  const { tried, log } = await probe('commands', context.nonce.readInt32LE(12), 0x62);
  expectErrors(tried, 'EINVAL', 'the command');
  expectSilence(log);
  context.prove(`EINVAL: ${tried.map(({ name }) => name).join(', ')}; nothing logged`);
}

async function pointers({ context, probe }: Loaded): Promise<void> {
  const { tried, log } = await probe('bad-pointers', 0, 0);
  expectErrors(
    tried,
    'EFAULT',
    'the address',
    'check what copy_from_user returns, before anything is logged',
  );
  expectSilence(log);
  const after = await probe('call', 11, 0x63);
  expectEqual('a right call afterwards', logged(after.log).join('; '), lineOf(11, 'c'));
  context.prove(
    `EFAULT: ${tried.map(({ name }) => name).join(', ')}; nothing logged; a right call works after`,
  );
}

async function unload({ context, module }: Loaded, setup: ModuleSetup): Promise<void> {
  const { guest, signal, prove } = context;
  await using holder = await LiveProgram.start(context, `${setup.programs['ioctl-probe']} -w call 12 100`);
  await holder.until('the open file', 5000, (lines) => lines.find((line) => line.includes('"opened"')));
  const refused = (await guest.exec(module.rmmod, { signal })).exitCode !== 0;
  await holder.finish();
  const [call] = parseEvents(holder.lines.join('\n')).filter((e) => e.event === 'tried');
  if (call === undefined)
    throw new CheckFailure('the program that had the file open was ended', holder.lines);
  if (!refused && call.error === null) throw new CheckFailure('a call reached the module after rmmod');
  if (refused) await module.remove();
  const { exitCode } = await guest.exec(['test', '-e', ENTRY], { signal });
  if (exitCode === 0) throw new CheckFailure(`${ENTRY} is still there after rmmod`);
  prove(`rmmod with the file open: ${refused ? 'refused' : 'done'}; a call then: ${call.error ?? 'served'}`);
}

function expectErrors(tried: readonly Tried[], error: string, what: string, hint?: string): void {
  if (tried.length === 0) throw new CheckFailure('the probe made no call');
  const wrong = tried.filter((call) => call.error !== error);
  if (wrong.length === 0) return;
  const shown = wrong.map((call) => `${call.name}: ${call.error ?? 'succeeded'}`);
  throw new CheckFailure(`${what} ${wrong[0]?.name} does not give ${error}`, shown, hint);
}

function expectSilence(log: readonly string[]): void {
  if (logged(log).length === 0) return;
  throw new CheckFailure('a call that failed was logged as if it had been right', logged(log));
}

/** The module's own lines, whatever its log prefix. */
function logged(log: readonly string[]): string[] {
  return log.flatMap((line) => (line.includes(LINE) ? [line.slice(line.indexOf(LINE))] : []));
}

function lineOf(number: number, character: string): string {
  return `${LINE} (${number},${character})!`;
}

function letter(byte: number): string {
  return String.fromCharCode(0x61 + (byte % 26));
}
