import { type Check, type CheckContext, expectEqual } from '../../../../lab/check.js';
import { kernelLogCheck } from '../../../../lab/kernel-log-check.js';
import { expectNoLeaks, noExactMemory, noKmemleak } from '../../../../lab/kmemleak.js';
import { expectMemoryBack } from '../../../../lab/memory.js';
import { mustRun } from '../../../../lab/run-logged.js';
import { BASIC_NODE, FURTHER_DEVICES, MSI } from '../devices.js';
import { LOAD_PCI, UNLOAD_ALL } from '../driver.js';
import { PATHS, PROBE } from '../probe.js';
import { expectRead } from './paths.js';

const ROUNDS = 100;
/** Fewer where the kernel watches every allocation. */
const WATCHED_ROUNDS = 5;

/** Loading and unloading, with and without users, and what the kernel thinks of it all. */
export const lifeChecks: readonly Check[] = [
  {
    id: 'busy',
    title: 'rmmod is refused while a node is open, and works when it is closed',
    deadline: 15_000,
    run: busy,
  },
  {
    id: 'reload',
    title: `${ROUNDS} times loaded and unloaded: memory and slab are as before, and the driver still serves`,
    deadline: 120_000,
    needs: ['busy'],
    skip: noExactMemory,
    run: reload,
  },
  {
    id: 'kmemleak',
    title: 'the leak detector of the kernel finds nothing after use and unloading',
    deadline: 120_000,
    needs: ['busy'],
    skip: noKmemleak,
    run: (context) => expectNoLeaks(context, watchedRounds(), 110_000 * context.timeouts.scale),
  },
  kernelLogCheck('further', 'further'),
];

async function busy(context: CheckContext): Promise<void> {
  const script = [
    LOAD_PCI,
    `exec 3<>${MSI.node}`,
    'rmmod my_rng_pci 2>/dev/null && echo removed || echo refused',
    'head -c 1000 <&3 | wc -c',
    'exec 3>&-',
    'rmmod my_rng_pci && echo removed',
    LOAD_PCI,
    `[ -c ${MSI.node} ] && echo loaded`,
  ].join('\n');
  const { stdout } = await mustRun(context, script);
  const seen = stdout.trim().split(/\s+/).join(' ');
  expectEqual('rmmod while open, a read, rmmod when closed, insmod', seen, 'refused 1000 removed loaded');
  context.prove(seen);
}

/** Each round opens a node and reads in bulk. */
async function reload(context: CheckContext): Promise<void> {
  const timeout = 60_000 * context.timeouts.scale;
  await mustRun(context, UNLOAD_ALL);
  await expectMemoryBack(context, {
    what: `${ROUNDS} rounds`,
    before: rounds(5),
    script: rounds(ROUNDS),
    timeout,
  });
  await mustRun(context, LOAD_PCI);
  const seed = context.nonce.readUInt32LE(20);
  await expectRead(context, MSI, { path: 'bulk', seed, bytes: 65536, chunk: 65536 });
  context.prove(`afterwards ${MSI.node} gives the sequence of seed ${seed}`);
}

function rounds(count: number): string {
  const round = `insmod /opt/lab/my_rng_pci.ko && head -c 4096 ${MSI.node} >/dev/null && rmmod my_rng_pci`;
  return `i=0; while [ $i -lt ${count} ]; do ${round} || exit 1; i=$((i+1)); done`;
}

/** Every node is read by every path; a reader is killed in the middle. */
function watchedRounds(): string {
  const nodes = [BASIC_NODE, ...FURTHER_DEVICES.map(({ node }) => node)].join(' ');
  const use = `for node in ${nodes}; do for path in 0 1 2 3; do ${PROBE} read $node $path 1 9000 4000 /tmp/n || :; done; done >/dev/null`;
  const killed = `${PROBE} hold ${MSI.node} ${PATHS.bulk} >/dev/null & sleep 0.2; kill -9 $!; wait`;
  const round = `insmod /opt/lab/my_rng_pci.ko && { ${use}; ${killed}; rmmod my_rng_pci; }`;
  const loop = `i=0; while [ $i -lt ${WATCHED_ROUNDS} ]; do ${round} || exit 1; i=$((i+1)); done`;
  return `${UNLOAD_ALL}\n${loop}\n${LOAD_PCI}`;
}
