import { quoteForShell } from '../../guest/command.js';
import { type CheckContext, CheckFailure, expectEqual } from '../../lab/check.js';
import type { ModuleSetup } from '../../lab/module-checks.js';
import { withDevice } from './device.js';
import { eventsOf, runProbe } from './probe.js';

/** Job files, by the names under which a setup has them. */
export const FIO_JOBS = ['randread.fio', 'randwrite.fio', 'randrw.fio'] as const;

/** Milliseconds that one job may take; a kernel that watches every access needs most of it. */
const JOB = 60_000;
/** Requests of each kind, when the probe stands in for fio. */
const REQUESTS = 8192;

/** One job of fio's terse output, version 3. */
export interface FioJob {
  readonly name: string;
  /** An errno value; 0 is none. */
  readonly error: number;
  readonly read: { readonly kib: number; readonly iops: number };
  readonly write: { readonly kib: number; readonly iops: number };
}

/**
 * The job files in the guest's fio; where the guest has none, the same requests by our own program. The proof says
 * which it was.
 */
export async function fioOrOwn(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const files = FIO_JOBS.map((name) => setup.programs[name]).filter((path) => path !== undefined);
  const { stdout } = await withDevice(context, setup, 'fio --version 2>/dev/null || echo none');
  const version = stdout.trim();
  if (version === 'none' || files.length < FIO_JOBS.length) await own(context, setup, version);
  else for (const file of files) await fio(context, setup, file, version);
}

async function fio(context: CheckContext, setup: ModuleSetup, file: string, version: string): Promise<void> {
  const { stdout } = await withDevice(
    context,
    setup,
    `fio --minimal ${quoteForShell(file)}`,
    JOB * context.timeouts.scale,
  );
  const jobs = parseTerse(stdout);
  if (jobs.length === 0) throw new CheckFailure(`fio reported no job of ${file}`, stdout.split('\n'));
  for (const { name, error } of jobs) expectEqual(`the error of fio's job ${name}`, error, 0);
  const last = jobs.at(-1);
  const moved = (last?.read.kib ?? 0) + (last?.write.kib ?? 0);
  if (moved === 0) throw new CheckFailure(`fio's job ${last?.name} moved nothing`, stdout.split('\n'));
  context.prove(`${version}, ${last?.name}: ${moved} KiB verified, ${rates(last)}`);
}

function rates(job: FioJob | undefined): string {
  return `${job?.read.iops} reads/s, ${job?.write.iops} writes/s`;
}

/** Pure. Lines that are not results are passed over. */
export function parseTerse(output: string): FioJob[] {
  return output
    .split('\n')
    .map((line) => line.split(';'))
    .filter((fields) => fields[0] === '3' && fields.length > 50)
    .map((fields) => {
      const number = (index: number) => Number(fields[index]);
      return {
        name: fields[2] ?? '',
        error: number(4),
        read: { kib: number(5), iops: number(7) },
        write: { kib: number(46), iops: number(48) },
      };
    });
}

async function own(context: CheckContext, setup: ModuleSetup, version: string): Promise<void> {
  const why = version === 'none' ? 'the guest has no fio' : "fio's job files are not in the guest";
  const seen = await runProbe(context, setup, 'aio', context.nonce.readUInt32LE(8), REQUESTS);
  const modes = eventsOf(seen, 'aio');
  expectEqual('the kinds of requests', modes.map(({ mode }) => mode).join(' '), 'randread randwrite randrw');
  for (const { mode, done, errors, wrong, error, depth, iops } of modes) {
    expectEqual(`the error of ${mode}`, error, null);
    expectEqual(`requests of ${mode} that came to an end`, done, REQUESTS);
    expectEqual(`requests of ${mode} that failed`, errors, 0);
    expectEqual(`blocks of ${mode} with other data than was written`, wrong, 0);
    context.prove(`${why}; our own program, ${mode}: ${done} requests at depth ${depth} verified, ${iops}/s`);
  }
}
