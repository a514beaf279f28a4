import { findTrouble } from '../../../console/kernel-log.js';
import { type Check, type CheckContext, CheckFailure, expectEqual } from '../../../lab/check.js';
import { complaintFailure } from '../../../lab/kernel-complaints.js';
import { glibcRandom } from '../glibc-random.js';
import { eventsOf, numbersOf, runProbe } from '../probe.js';
import { messages, noModule } from './common.js';

const RELOADS = 50;

/** Opening, unloading and loading again, and what the kernel thinks of it all. */
export const lifeChecks: readonly Check[] = [
  {
    id: 'open-close',
    title: 'the node opens and closes 200 times, and 64 times at once',
    deadline: 10_000,
    needs: ['mknod'],
    run: openClose,
  },
  {
    id: 'busy',
    title: 'rmmod is refused while the node is open, and works afterwards with its log line',
    deadline: 10_000,
    needs: ['insmod', 'mknod'],
    skip: noModule,
    run: busy,
  },
  {
    id: 'reload',
    title: `${RELOADS} times rmmod and insmod, and the driver still serves the right numbers`,
    deadline: 40_000,
    needs: ['busy'],
    skip: noModule,
    run: reload,
  },
  {
    id: 'kernel-log-clean',
    title: 'the kernel log has no BUG, WARNING, oops or lockup',
    deadline: 10_000,
    run: kernelLogClean,
  },
];

async function openClose(context: CheckContext): Promise<void> {
  const events = await runProbe(context, 'open-close', 200);
  const inTurn = eventsOf(events, 'open-close')[0];
  const atOnce = eventsOf(events, 'held-open')[0];
  expectEqual('opened and closed in turn', `${inTurn?.done} ${inTurn?.error}`, '200 null');
  expectEqual('open at once', `${atOnce?.done} ${atOnce?.error}`, '64 null');
  context.prove('200 in turn, 64 at once');
}

async function busy({ guest, signal, prove }: CheckContext): Promise<void> {
  const script = [
    'exec 3<>/dev/my_rng_driver',
    'rmmod my_rng 2>/dev/null && echo removed || echo refused',
    'exec 3>&-',
    'rmmod my_rng && echo removed || echo refused',
    'dmesg | tail -n 1',
    '( exec 3<>/dev/my_rng_driver ) 2>/dev/null && echo opens || echo closed',
    'insmod /opt/lab/my_rng.ko && echo loaded',
  ].join('\n');
  const { stdout } = await guest.exec(`sh -c '${script.replaceAll("'", `'\\''`)}'`, { signal });
  const seen = messages(stdout.trimEnd());
  const expected = ['refused', 'removed', 'my_rng_driver unloaded', 'closed', 'loaded'];
  expectEqual('what happened', seen.join('; '), expected.join('; '));
  prove(
    'refused while open; removed when closed, with its log line; the node then leads nowhere; loaded again',
  );
}

async function reload(context: CheckContext): Promise<void> {
  const { guest, signal, nonce, prove } = context;
  const script = `i=0; while [ $i -lt ${RELOADS} ]; do rmmod my_rng && insmod /opt/lab/my_rng.ko || exit 1; i=$((i+1)); done; echo $i`;
  const { stdout, stderr } = await guest.exec(script, { signal, timeout: 40_000 * context.timeouts.scale });
  expectEqual('the number of reloads', stdout.trim(), RELOADS, stderr.trimEnd());
  const seed = nonce.readUInt32LE(4);
  const numbers = numbersOf(await runProbe(context, 'sequence', seed, 5));
  expectEqual('the sequence afterwards', numbers.join(' '), glibcRandom(seed, 5).join(' '));
  prove(`${RELOADS} times; afterwards seed ${seed}: ${numbers.join(' ')}`);
}

async function kernelLogClean({ guest, machine, signal, prove }: CheckContext): Promise<void> {
  const { stdout } = await guest.exec(['dmesg'], { signal, check: true });
  const lines = [...stdout.split('\n'), ...machine.console.lines(0)];
  const reports = findTrouble(lines);
  const failure = complaintFailure(reports);
  if (failure !== undefined) throw failure;
  const [first = '', last = ''] = [stdout.split('\n')[0], stdout.trimEnd().split('\n').at(-1)];
  if (stdout.trim() === '') throw new CheckFailure('the kernel log is empty, which proves nothing');
  prove(`${stdout.split('\n').length} lines read, from "${first}" to "${last}"`);
}
