import { type Check, type CheckContext, CheckFailure, expectEqual } from '../../../../lab/check.js';
import { mustRun } from '../../../../lab/run-logged.js';
import { countedSince, countersOf } from '../counters.js';
import { FURTHER_DEVICES, type FurtherDevice, MSI } from '../devices.js';
import { FIPS_BLOCK, fipsFailures } from '../fips.js';
import { runFurther } from '../probe.js';
import { sequenceBytes } from '../sequences.js';

const SYSFS = '/sys/class/misc/hw_random';
/** The kernel asks for so many bytes at a time. */
const PIECE = 64;
const BLOCKS = 10;
/** Whole pieces, so that nothing of one device is left for whoever reads the next. */
const BYTES = Math.ceil((BLOCKS * FIPS_BLOCK) / PIECE) * PIECE;
/** The test of the numbers is the same in every run. */
const SEED = 0x42;
/** Pieces that the kernel may have taken for itself. */
const TAKEN = 16;

/** The devices as sources of the kernel. */
export const hwrngChecks: readonly Check[] = [
  {
    id: 'hwrng',
    title: '/dev/hwrng gives the numbers of the device that is chosen, at the lowest quality there is',
    deadline: 20_000,
    run: hwrng,
  },
  {
    id: 'hwrng-fips',
    title: 'what /dev/hwrng gives passes the tests of FIPS 140-2, unless the highest bit is always 0',
    deadline: 30_000,
    needs: ['hwrng'],
    run: fips,
  },
];

async function hwrng(context: CheckContext): Promise<void> {
  const { stdout } = await mustRun(context, `cat ${SYSFS}/rng_available`);
  const names = stdout.trim().split(' ');
  for (const name of ['virtio_rng.0', 'my_rng.0', ...FURTHER_DEVICES.map(sourceOf)])
    if (!names.includes(name)) throw new CheckFailure(`the kernel has no source ${name}`, [stdout.trim()]);
  const seed = context.nonce.readUInt32LE(4);
  const before = await countersOf(context, MSI.id);
  const { data, quality } = await readThrough(context, MSI, seed);
  const { 'wide-reads': wide } = countedSince(before, await countersOf(context, MSI.id));
  expectEqual('the quality of the source', quality, 1, 'since Linux 6.2 a quality of 0 means full trust');
  const taken = expectPieces(data, sequenceBytes(MSI.algorithm, seed, BYTES + TAKEN * PIECE), seed);
  if (wide < BYTES / 8) throw new CheckFailure(`the device counted only ${wide} reads of 64 bits`);
  context.prove(
    `${data.length} bytes through /dev/hwrng are of seed ${seed}; the device counted ${wide} wide reads`,
  );
  context.note(`the kernel took ${taken} pieces for itself meanwhile`);
  context.prove(`sources: ${stdout.trim()}; quality ${quality} of 1024`);
}

function sourceOf({ name }: FurtherDevice): string {
  return name.replace('my_rng', 'my_rng.');
}

/** What `/dev/hwrng` gives while this device is the kernel's source; the kernel chooses by itself afterwards. */
async function readThrough(
  context: CheckContext,
  device: FurtherDevice,
  seed: number,
): Promise<{ readonly data: Buffer; readonly quality: string }> {
  try {
    await mustRun(context, `echo ${sourceOf(device)} >${SYSFS}/rng_current`);
    await runFurther(context, ['get', device.node, seed, 0]);
    const read = `dd if=/dev/hwrng bs=${PIECE} count=${BYTES / PIECE} 2>/dev/null | base64`;
    const { stdout } = await mustRun(context, `cat ${SYSFS}/rng_quality\n${read}`);
    const [quality = ''] = stdout.split('\n');
    return { data: Buffer.from(stdout.slice(quality.length), 'base64'), quality };
  } finally {
    if (!context.signal.aborted) await mustRun(context, `echo >${SYSFS}/rng_current`);
  }
}

/** @returns how many pieces of the sequence are missing between those that were read. */
function expectPieces(data: Buffer, sequence: Buffer, seed: number): number {
  let at = 0;
  for (let i = 0; i < data.length; i += PIECE, at += PIECE) {
    const piece = data.subarray(i, i + PIECE);
    while (at < sequence.length && !sequence.subarray(at, at + PIECE).equals(piece)) at += PIECE;
    if (at < sequence.length) continue;
    throw new CheckFailure(`byte ${i} and after are not of the sequence of seed ${seed}`, [
      piece.toString('hex'),
    ]);
  }
  expectEqual('the bytes read', data.length, BYTES);
  return (at - data.length) / PIECE;
}

async function fips(context: CheckContext): Promise<void> {
  for (const device of [MSI, ...FURTHER_DEVICES.filter(({ algorithm }) => algorithm !== 'libc')]) {
    const { data } = await readThrough(context, device, SEED);
    const blocks = Array.from({ length: BLOCKS }, (_, i) =>
      data.subarray(i * FIPS_BLOCK, (i + 1) * FIPS_BLOCK),
    );
    const failures = blocks.map((block) => fipsFailures(block).join('+'));
    const failed = failures.filter(Boolean);
    if (device.algorithm !== 'libc')
      expectEqual(`the tests that blocks of ${device.algorithm} fail`, failed.join(' '), '');
    else if (failed.length <= BLOCKS / 2)
      throw new CheckFailure('most blocks of libc pass, though their highest bits are 0', failures);
    context.prove(
      `${device.algorithm}: ${BLOCKS - failed.length} of ${BLOCKS} blocks pass${failed.length > 0 ? ` (${failed[0]})` : ''}`,
    );
  }
}
