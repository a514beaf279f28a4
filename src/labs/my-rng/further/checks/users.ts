import { createHash } from 'node:crypto';
import {
  type Check,
  type CheckContext,
  CheckFailure,
  expectEqual,
  expectErrno,
} from '../../../../lab/check.js';
import { BASIC_NODE, MSI } from '../devices.js';
import { callsOf, numbersOf, PATHS, type PathName, resultOf, runFurther } from '../probe.js';
import { sequenceBytes, sequences } from '../sequences.js';

const PROCESSES = 4;
const PAGE = 4096;
const EACH_PATH = ['narrow', 'wide', 'bulk'] as const;

/** What programs can do with a node, rightly and wrongly. */
export const userChecks: readonly Check[] = [
  {
    id: 'commands',
    title: 'each command does what its device can do, and says what it cannot',
    deadline: 10_000,
    run: commands,
  },
  {
    id: 'get-64',
    title: '32-bit and 64-bit commands in turn give one sequence',
    deadline: 10_000,
    run: getBoth,
  },
  {
    id: 'pointers',
    title: 'bad addresses give EFAULT, half a good one what fits, and no number is lost',
    deadline: 15_000,
    run: pointers,
  },
  {
    id: 'several-readers',
    title: `${PROCESSES} readers at once get disjoint parts of the sequence, each part in one piece`,
    deadline: 20_000,
    run: together,
  },
  {
    id: 'signals',
    title: 'a signal cuts a long read short, and the next read goes on where it ended',
    deadline: 20_000,
    run: signals,
  },
];

async function commands(context: CheckContext): Promise<void> {
  const errors = async (node: string) => {
    const { events } = await runFurther(context, ['commands', node]);
    return events.flatMap((each) => (each.event === 'call' ? [`${each.name} ${each.error}`] : [])).join(', ');
  };
  const all = 'path null, path null, path null, path null, path EINVAL, get64 null';
  const few = 'path null, path null, path EOPNOTSUPP, path EOPNOTSUPP, path EINVAL, get64 EOPNOTSUPP';
  const rest = 'foreign ENOTTY, nothing null';
  expectEqual('the errors on an extended device', await errors(MSI.node), `${all}, ${rest}`);
  expectEqual('the errors on the basic device', await errors(BASIC_NODE), `${few}, ${rest}`);
  context.prove(`basic device: ${few}; extended: ${all}; both: ${rest}`);
}

async function getBoth(context: CheckContext): Promise<void> {
  const seed = context.nonce.readUInt32LE(12);
  const rounds = 10;
  const { events } = await runFurther(context, ['get', MSI.node, seed, rounds]);
  const expected = Array.from(sequences[MSI.algorithm]?.(seed, 3 * rounds) ?? []);
  expectEqual(`the sequence of seed ${seed}`, numbersOf(events).join(' '), expected.join(' '));
  context.prove(`seed ${seed}: ${rounds} times two numbers and one: ${expected.slice(0, 6).join(' ')} …`);
}

async function pointers(context: CheckContext): Promise<void> {
  for (const path of EACH_PATH) {
    const seed = context.nonce.readUInt32LE(4 * PATHS[path]);
    const words = ['pointers', MSI.node, PATHS[path], seed, 'numbers'];
    const { events, rest } = await runFurther(context, words, 'base64 numbers; rm numbers');
    const tried = events.slice(
      0,
      events.findIndex((each) => each.event === 'trying' && each.name === 'half'),
    );
    const bad = tried.filter((each) => each.event === 'call' && each.name !== 'seed');
    for (const name of ['read', 'get', 'get64', 'path']) {
      const calls = callsOf(bad, name);
      expectEqual(`the bad addresses given to ${name}`, calls.length, 4);
      for (const { error } of calls) expectErrno(name, error, 'EFAULT');
    }
    const seeds = callsOf(tried, 'seed').map(({ error }) => String(error));
    expectEqual('the errors of seed', seeds.join(' '), 'null EFAULT EFAULT EFAULT EFAULT');
    expectEqual('the bytes read into half of good memory', resultOf(events, 'half'), 2 * PAGE);
    expectEqual('the bytes read after that', resultOf(events, 'rest'), 3 * PAGE);
    expectBytes(Buffer.from(rest, 'base64'), path, seed, 5 * PAGE);
    context.prove(
      `${path}: 20 bad addresses gave EFAULT; ${2 * PAGE} and ${3 * PAGE} bytes are one sequence of seed ${seed}`,
    );
  }
}

/** @throws CheckFailure unless the bytes are the first ones after the seed. */
function expectBytes(data: Buffer, path: PathName, seed: number, bytes: number): void {
  const expected = sequenceBytes(MSI.algorithm, seed, bytes);
  if (data.equals(expected)) return;
  const at = data.findIndex((byte, i) => byte !== expected[i]);
  throw new CheckFailure(`by the path ${path} the bytes leave the sequence of seed ${seed}`, [
    `${data.length} bytes, of which byte ${at} is the first wrong one`,
  ]);
}

/** Bytes of one call of `read()` that get out of the device while nobody else can. */
const PIECE: Readonly<Record<(typeof EACH_PATH)[number], number>> = { narrow: 1024, wide: 1024, bulk: PAGE };
const PIECES = 16;

async function together(context: CheckContext): Promise<void> {
  for (const path of EACH_PATH) {
    const seed = context.nonce.readUInt32LE(16 + 4 * PATHS[path]);
    const size = PIECE[path];
    const words = ['together', MSI.node, PATHS[path], seed, PROCESSES, PIECES * size, size, 'part'];
    const { events, rest } = await runFurther(context, words, 'cat part.* | base64; rm part.*');
    const ends = callsOf(events, 'process').map(({ result }) => result);
    expectEqual('the exit codes of the readers', ends.join(' '), new Array(PROCESSES).fill(0).join(' '));
    const pieces = piecesOf(Buffer.from(rest, 'base64'), size);
    const expected = piecesOf(sequenceBytes(MSI.algorithm, seed, PROCESSES * PIECES * size), size);
    const hint = 'a piece was handed out twice, or torn: accesses to the device are not serialised';
    expectEqual(`the pieces of all readers by the path ${path}`, digest(pieces), digest(expected), hint);
    context.prove(
      `${path}: ${PROCESSES} readers × ${PIECES} pieces of ${size} bytes, each of the sequence once`,
    );
  }
}

function piecesOf(data: Buffer, size: number): string[] {
  const count = Math.ceil(data.length / size);
  return Array.from({ length: count }, (_, i) => data.toString('hex', i * size, (i + 1) * size));
}

/** The same for the same pieces in any order. */
function digest(pieces: readonly string[]): string {
  const sorted = createHash('sha256').update(pieces.toSorted().join()).digest('hex');
  return `${pieces.length} pieces, ${new Set(pieces).size} different, sorted ${sorted}`;
}

async function signals(context: CheckContext): Promise<void> {
  for (const path of EACH_PATH) {
    const seed = context.nonce.readUInt32LE(4 * PATHS[path]);
    const words = ['signal', MSI.node, PATHS[path], seed, 'numbers'];
    const { events, rest } = await runFurther(context, words, 'sha256sum numbers; rm numbers');
    const cut = resultOf(events, 'cut');
    expectEqual('the bytes read after the signal', resultOf(events, 'rest'), 1024);
    if (cut <= 0 || cut >= 200 * 1024 * 1024)
      throw new CheckFailure(`the signal did not cut the read short: ${cut} bytes`);
    const data = sequenceBytes(MSI.algorithm, seed, cut + 1024);
    const expected = createHash('sha256').update(data).digest('hex');
    const hint = 'numbers were lost when the signal came';
    expectEqual(`the ${cut} bytes and those after them`, rest.split(' ')[0], expected, hint);
    context.prove(`${path}: cut after ${cut} bytes; with 1024 more they are the sequence of seed ${seed}`);
  }
}
