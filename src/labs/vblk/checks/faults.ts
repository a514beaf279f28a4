import { createHash } from 'node:crypto';
import { type Check, type CheckContext, CheckFailure, expectEqual } from '../../../lab/check.js';
import { mustRun } from '../../../lab/run-logged.js';
import { faulty, logged, parseFaultScript } from '../../../nbd/vblk.js';
import { contents, gated, type VblkSetup } from '../devices.js';
import { attached, NODE, type Probed, probe } from '../served.js';

/** Faults by script, as a guest sees them. */
export function faultChecks(setup: VblkSetup): readonly Check[] {
  const bind = (run: (context: CheckContext, setup: VblkSetup) => Promise<void>) => (context: CheckContext) =>
    run(context, setup);
  const common = { deadline: 40_000, needs: ['deadbeef'] };
  return [
    {
      ...common,
      id: 'fault-eio',
      title: 'EIO at a block is EIO there, for reads and writes, and only there',
      run: bind(failsThere),
    },
    {
      ...common,
      id: 'fault-torn',
      title: 'of a torn write the first bytes are new and the others old, and it succeeds',
      run: bind(tears),
    },
    {
      ...common,
      id: 'fault-delay',
      title: 'a delayed read takes so long, and nobody else waits for it',
      run: bind(delays),
    },
  ];
}

/** The bad block, in blocks of 512 bytes, and the piece of 64 KiB that it is in. */
const BAD = 5000;
const PER_PIECE = 128;
const PIECE = Math.floor(BAD / PER_PIECE);

/** All of the first 4 MiB, then each block of the piece that fails. */
async function failsThere(context: CheckContext, { ramdisk }: VblkSetup): Promise<void> {
  const device = faulty(ramdisk(), parseFaultScript(`error EIO block ${BAD}`));
  await attached(context, device, {}, async () => {
    const pieces = await probe(context, { bytes: 512 * PER_PIECE, from: 0, count: 64 });
    expectEqual('the pieces of 64 KiB that cannot be read', say(pieces), `${PIECE} EIO`);
    const blocks = { bytes: 512, from: PIECE * PER_PIECE, count: PER_PIECE };
    const read = await probe(context, blocks);
    expectEqual('the blocks that cannot be read', say(read), `${BAD} EIO`);
    const written = await probe(context, blocks, 'x');
    expectEqual('the blocks that cannot be written', say(written), `${BAD} EIO`);
    context.prove(`of ${pieces.count} pieces of 64 KiB only ${PIECE} fails: EIO; of its blocks only ${BAD}`);
    context.prove(`dmesg: ${errorAt(read.log, BAD)}; ${errorAt(written.log, BAD)}`);
  });
}

/** The kernel's message about the sector, which has to be the only one about any. */
function errorAt(log: readonly string[], sector: number): string {
  const errors = log.filter((line) => /I\/O error, dev nbd0, sector \d+/.test(line));
  const [line] = errors;
  if (line?.includes(`sector ${sector} `) && errors.length === 1) return line;
  throw new CheckFailure(`the kernel did not log just one error, of sector ${sector}`, log.slice(-15));
}

function say({ failed }: Probed): string {
  return failed.map(({ piece, error }) => `${piece} ${error}`).join(', ');
}

async function tears(context: CheckContext, { ramdisk }: VblkSetup): Promise<void> {
  const inner = ramdisk();
  const at = 800 * 512;
  await inner.write?.(at, Buffer.alloc(4096, 'old!'));
  const device = faulty(inner, parseFaultScript('torn 512 write blocks 800-807'));
  await attached(context, device, {}, async () => {
    const wanted = Buffer.concat([Buffer.alloc(512, 'n'), Buffer.alloc(3584, 'old!')]);
    expectEqual('what failed', say(await probe(context, { bytes: 4096, from: 100, count: 1 }, 'n')), '');
    const { stdout } = await mustRun(
      context,
      `dd if=${NODE} bs=4096 skip=100 count=1 2>/dev/null | sha256sum`,
    );
    const sum = createHash('sha256').update(wanted).digest('hex');
    expectEqual('the SHA-256 of what the guest reads', stdout.split(' ')[0], sum);
    expectEqual('what the device holds', (await contents(inner, at, 4096)).equals(wanted), true);
    context.prove('a write of 4096 bytes succeeded; 512 bytes are new, 3584 are old');
  });
}

/** Milliseconds. */
const DELAY = 600;
const SLOW = 30_000;
const OTHER = 40_000;
const read = (block: number) => `vblk-probe read ${NODE} 512 ${block} 1 >/dev/null`;

async function delays(context: CheckContext, { ramdisk }: VblkSetup): Promise<void> {
  const device = faulty(ramdisk(), parseFaultScript(`delay ${DELAY} read block ${SLOW}`));
  await attached(context, device, {}, async () => {
    const { stdout } = await mustRun(
      context,
      `read before rest </proc/uptime; ${read(SLOW)}; read after rest </proc/uptime; echo $before $after`,
    );
    const [before = Number.NaN, after = Number.NaN] = stdout.trim().split(' ').map(Number);
    const took = Math.round((after - before) * 1000);
    // the clock of the guest counts hundredths, and each reading is rounded down
    if (!(took >= DELAY - 20)) throw new CheckFailure(`a read delayed by ${DELAY} ms took ${took} ms`);
    context.prove(`a read that is to be delayed by ${DELAY} ms took ${took} ms`);
  });
  await overtakes(context, { ramdisk });
}

/** One read is held until another one, that came later, has ended: whoever serves one by one never ends. */
async function overtakes(context: CheckContext, { ramdisk }: Pick<VblkSetup, 'ramdisk'>): Promise<void> {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const watched = logged(ramdisk(), ({ kind, offset }) => {
    if (kind === 'read' && offset === OTHER * 512) open();
  });
  await attached(context, gated(watched, SLOW * 512, opened), {}, async () => {
    const script = `(${read(SLOW)}; echo held) & ${read(OTHER)}; wait; echo other`;
    const { stdout } = await mustRun(context, script);
    expectEqual('the reads that ended', stdout.trim().split('\n').join(', '), 'held, other');
    context.prove('a read that was held until a later one had ended did not stop that');
  });
}
