import { LabError } from '../../errors.js';
import type { Finding, FuzzReport, FuzzRequest } from '../../lab/fuzz.js';
import { describeExit } from '../../machine/process.js';
import { findReport, sanitizerError } from '../../machine/sanitizers.js';
import { BRIDGED_BUS, operations, setUp, type Target, targetAt } from './fuzz/generate.js';
import { describe, type Operation } from './fuzz/operation.js';
import { type Death, Player, SLOTS, type Stage } from './fuzz/player.js';
import { Random } from './fuzz/random.js';
import { shrink } from './fuzz/shrink.js';
import { stagesOf } from './fuzz/stages.js';

/** Operations on one machine before the next one is started. */
const SESSION = 20_000;

/** How often it is tried whether fewer operations lead to a finding; with one that hangs, each try takes seconds. */
const TRIES = { crash: 120, hang: 12 };

/**
 * Does random things to devices of the exercise, without a guest, until the time is over or QEMU does not survive.
 * Each session has a QEMU of its own and the seed after that of the session before.
 *
 * @throws LabError `machine/…` when QEMU does not start with the devices, `interrupted`.
 */
export async function fuzz(request: FuzzRequest): Promise<FuzzReport> {
  const started = performance.now();
  const stages = await stagesOf(request);
  const kinds: Record<string, number> = {};
  const counters: Record<string, number> = {};
  const tried = new Set<string>();
  let sessions = 0;
  let done = 0;
  let finding: Finding | undefined;
  const spent = () => performance.now() - started;
  while (finding === undefined && (sessions === 0 || spent() < request.time)) {
    const seed = (request.seed + sessions) >>> 0;
    const random = new Random(seed);
    const stage = random.pick(stages);
    for (const device of stage.devices) tried.add(device);
    finding = await session(seed, random, stage, request, {
      over: () => spent() >= request.time,
      onCounted: (name, value) => {
        counters[name] = (counters[name] ?? 0) + value;
      },
      onPlayed: ({ kind }) => {
        kinds[kind] = (kinds[kind] ?? 0) + 1;
        done += 1;
        if (done % 500 === 0) request.onProgress(done, spent());
      },
    });
    sessions += 1;
  }
  const { seed } = request;
  const report = { seed, time: spent(), sessions, operations: done, kinds, counters, devices: [...tried] };
  return finding === undefined ? report : { ...report, finding };
}

interface Watch {
  readonly over: () => boolean;
  readonly onPlayed: (operation: Operation) => void;
  readonly onCounted: (name: string, value: number) => void;
}

async function session(
  seed: number,
  random: Random,
  stage: Stage,
  request: FuzzRequest,
  { over, onPlayed, onCounted }: Watch,
): Promise<Finding | undefined> {
  const played: Operation[] = [];
  await using player = await Player.start(stage);
  const death = await player.play(
    operations({ random, targets: targetsOf(stage) }),
    () => played.length >= SESSION || over(),
    (operation) => {
      played.push(operation);
      onPlayed(operation);
    },
  );
  if (death !== undefined) return await findingOf(seed, stage, request, death, played);
  for (const [name, value] of Object.entries(await player.counters())) onCounted(name, value);
  return undefined;
}

function targetsOf({ devices }: Stage): [Target, ...Target[]] {
  return devices.map((_, index) => targetAt(index, index === 0 ? 0 : BRIDGED_BUS, SLOTS[index] ?? 0)) as [
    Target,
    ...Target[],
  ];
}

/** What is reported of a death, after the search for fewer operations that lead to it. */
async function findingOf(
  seed: number,
  stage: Stage,
  { owner, timeouts }: FuzzRequest,
  death: Death,
  played: readonly Operation[],
): Promise<Finding> {
  let tries = 0;
  const wanted = signatureOf(death);
  const reproduces = async (candidate: readonly Operation[]) => {
    tries += 1;
    // one that hangs is known to do so: no need for patience
    await using player = await Player.start({ ...stage, timeouts });
    const again = await player.play(candidate);
    return again !== undefined && signatureOf(again) === wanted;
  };
  const limit = death.error.code.endsWith('/timeout') ? TRIES.hang : TRIES.crash;
  const enough = () => tries >= limit;
  const upTo = played.slice(0, death.survived + 1);
  const few = await shrink(upTo, [...setUp({ targets: targetsOf(stage) })], reproduces, enough);
  const shown = few ?? upTo.slice(-12);
  const found = sanitizerError(death.exit, owner, undefined);
  return {
    seed,
    devices: stage.devices,
    fact: factOf(death),
    blame: found?.blame ?? owner.blame,
    evidence: [death.error.message, ...death.error.evidence, ...death.exit.lines],
    repeats: few !== undefined,
    operations: shown.map(describe),
  };
}

/** The same for deaths of the same cause: where a sanitizer saw what, or how QEMU ended. */
function signatureOf({ error, exit }: Death): string {
  const report = findReport(exit.lines);
  if (report !== undefined) return `${report.what} in ${report.where}`;
  return error.code.endsWith('/closed') ? describeExit(exit) : error.code;
}

function factOf({ error, exit }: Death): string {
  if (error.code.endsWith('/closed')) return `QEMU ${describeExit(exit)}`;
  if (error.code.endsWith('/timeout')) return 'QEMU hangs: it does not answer any more';
  return error instanceof LabError ? error.message : String(error);
}
