import { createHash } from 'node:crypto';
import { type Check, type CheckContext, CheckFailure, expectEqual } from '../../../lab/check.js';
import { mustRun, runLogged } from '../../../lab/run-logged.js';
import { surveyGuest } from '../attach.js';
import type { VblkSetup } from '../devices.js';
import { attached, NODE } from '../served.js';

/** Bytes of the example. */
const SIZE = 4 * 1024 * 1024;
const FIRST_LINE = '00000000: dead beef dead beef dead beef dead beef';

/** The example that can only be read, exactly as the exercise prints it. */
export function deadbeefChecks(setup: VblkSetup): readonly Check[] {
  const bind = (run: (context: CheckContext, setup: VblkSetup) => Promise<void>) => (context: CheckContext) =>
    run(context, setup);
  return [
    {
      id: 'deadbeef',
      title: 'the device deadbeef is /dev/nbd0: what xxd and blockdev print, and every byte',
      deadline: 30_000,
      run: bind(reads),
    },
    {
      id: 'deadbeef-write',
      title: 'without a write handler, dd fails at once with an input/output error and 0 records out',
      deadline: 30_000,
      needs: ['deadbeef'],
      run: bind(refusesWrites),
    },
    {
      id: 'deadbeef-read-only',
      title: 'a kernel that is told that the device is read-only makes its disk so, and asks nobody',
      deadline: 30_000,
      needs: ['deadbeef'],
      run: bind(isReadOnly),
    },
  ];
}

async function reads(context: CheckContext, { deadbeef }: VblkSetup): Promise<void> {
  const { guest, signal } = context;
  const { client: usual } = await surveyGuest(guest, signal);
  for (const client of new Set([usual, 'vblk-attach' as const])) {
    await attached(context, deadbeef(), { client }, async () => {
      const { stdout } = await mustRun(
        context,
        `xxd ${NODE} | head -n 1; blockdev --getsize64 ${NODE}; sha256sum <${NODE}`,
      );
      const [line = '', size, digest] = stdout.split('\n');
      if (!line.startsWith(FIRST_LINE))
        throw new CheckFailure('the first line of xxd is not as expected', [
          `expected: ${FIRST_LINE}`,
          `actual:   ${line}`,
        ]);
      expectEqual('the size', size, SIZE);
      const whole = createHash('sha256')
        .update(Buffer.alloc(SIZE, 'deadbeef', 'hex'))
        .digest('hex');
      expectEqual('the SHA-256 of all that is read', digest?.split(' ')[0], whole);
      context.prove(`attached by ${client}: ${line}`);
      context.prove(`attached by ${client}: ${size} bytes, SHA-256 ${whole}`);
    });
  }
}

/** Busybox has a dd that knows neither dsync nor where it is not the distribution's. */
const DD = `dd=/bin/dd; $dd if=/dev/zero of=/dev/null oflag=dsync count=1 2>/dev/null && flag=dsync || flag=direct`;

async function refusesWrites(context: CheckContext, { deadbeef }: VblkSetup): Promise<void> {
  await attached(context, deadbeef(), { tellReadOnly: false }, async () => {
    const command = `$dd oflag=$flag if=/dev/zero of=${NODE} bs=1024 count=4096`;
    const result = await runLogged(context, `${DD}; echo $flag; ${command}`);
    const said = result.stderr.trim().split('\n');
    if (result.exitCode === 0) throw new CheckFailure('dd wrote to a device without a write handler', said);
    if (!/input\/output error/i.test(result.stderr) || !said.includes('0+0 records out'))
      throw new CheckFailure('dd did not fail with an input/output error and 0 records out', said);
    if (!result.log.some((line) => /I\/O error, dev nbd0, sector 0 op 0x1:\(WRITE\)/.test(line)))
      throw new CheckFailure('the kernel logged no I/O error of a write to sector 0', result.log);
    context.prove(`dd oflag=${result.stdout.trim()}: ${said.slice(0, 3).join('; ')}`);
  });
}

async function isReadOnly(context: CheckContext, { deadbeef }: VblkSetup): Promise<void> {
  await attached(context, deadbeef(), {}, async () => {
    const result = await runLogged(
      context,
      `blockdev --getro ${NODE}; dd if=/dev/zero of=${NODE} bs=1024 count=1 conv=fsync`,
    );
    expectEqual('what blockdev --getro says', result.stdout.trim(), 1);
    if (result.exitCode === 0 || !/not permitted/i.test(result.stderr))
      throw new CheckFailure('writing did not fail with EPERM', result.stderr.split('\n'));
    context.prove(`blockdev --getro: 1; ${result.stderr.trim().split('\n')[0]}`);
  });
}
