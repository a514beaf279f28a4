// A disk in memory served over NBD by our server and by nbdkit's memory plugin, to clients that nobody here wrote, in
// alternated rounds. Usage: node test/bench/nbd.mjs [rounds]
import { once } from 'node:events';
import { build } from 'esbuild';
import { $, fs, path, tmpdir } from 'zx';

$.verbose = false;
const rounds = Number(process.argv[2] ?? 5);
const MIB = 256;
const folder = tmpdir();
const root = path.join(import.meta.dirname, '../..');
const random = path.join(folder, 'random');
const back = path.join(folder, 'back');
await $`head -c ${MIB}M /dev/urandom > ${random}`;

const program = `
import { serve } from ${JSON.stringify(path.join(root, 'src/nbd/vblk.ts'))};
import { RamDisk } from ${JSON.stringify(path.join(root, 'src/nbd/examples/ramdisk.ts'))};
await serve(new RamDisk(${MIB} * 1024 * 1024), 'unix:' + process.argv[2]);
console.log('ready');
`;
const bundle = path.join(folder, 'server.mjs');
await build({
  stdin: { contents: program, resolveDir: root, loader: 'ts' },
  ...{ bundle: true, platform: 'node', format: 'esm', outfile: bundle, logLevel: 'error' },
});

const ours = path.join(folder, 'ours');
const theirs = path.join(folder, 'nbdkit');
const server = $({ detached: false })`${process.execPath} ${bundle} ${ours}`.nothrow();
const nbdkit = $`nbdkit --foreground --unix ${theirs} memory ${MIB}M`.nothrow();
await once(server.stdout, 'data');
while (!(await fs.exists(theirs))) await new Promise((resolve) => setTimeout(resolve, 10));

const servers = { ours: `nbd+unix:///?socket=${ours}`, nbdkit: `nbd+unix:///?socket=${theirs}` };
const REQUESTS = 50_000;
// a stride that is no divisor of the size visits all of the disk in a scattered order
const scattered = ['-c', REQUESTS, '-d', 16, '-s', 4096, '-S', 37 * 4096 * 129, '-f', 'raw', '-t', 'none'];
const tasks = {
  'write, nbdcopy': [(uri) => $`nbdcopy ${random} ${uri}`, MIB, 'MiB/s'],
  'read, nbdcopy': [(uri) => $`nbdcopy ${uri} ${back}`, MIB, 'MiB/s'],
  'read 1 MiB, qemu-img': [(uri) => $`qemu-img bench -f raw -c 2000 -d 16 -s 1M ${uri}`, 2000, 'MiB/s'],
  'write 1 MiB, qemu-img': [(uri) => $`qemu-img bench -w -f raw -c 1000 -d 16 -s 1M ${uri}`, 1000, 'MiB/s'],
  'read 4 KiB scattered, depth 16': [(uri) => $`qemu-img bench ${scattered} ${uri}`, REQUESTS, '1/s'],
  'write 4 KiB scattered, depth 16': [(uri) => $`qemu-img bench -w ${scattered} ${uri}`, REQUESTS, '1/s'],
};

const seconds = async (task) => {
  const started = performance.now();
  await task;
  return (performance.now() - started) / 1000;
};
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
console.log(
  `medians of ${rounds} rounds\n${'task'.padEnd(34)}${'ours'.padStart(10)}${'nbdkit'.padStart(10)}  unit    ratio`,
);
for (const [name, [task, amount, unit]] of Object.entries(tasks)) {
  const rates = { ours: [], nbdkit: [] };
  for (let round = 0; round < rounds; round += 1) {
    for (const [who, uri] of Object.entries(servers)) rates[who].push(amount / (await seconds(task(uri))));
  }
  const [mine, other] = [median(rates.ours), median(rates.nbdkit)];
  const cells = [mine, other].map((rate) => rate.toFixed(0).padStart(10)).join('');
  console.log(`${name.padEnd(34)}${cells}  ${unit.padEnd(6)}${(mine / other).toFixed(2).padStart(6)} x`);
}
if (!(await fs.readFile(random)).equals(await fs.readFile(back)))
  throw new Error('what was read is not what was written');
const status = await fs.readFile(`/proc/${server.pid}/status`, 'utf8');
console.log(
  `memory of our server, highest: ${(/VmHWM:\s+(\d+)/.exec(status)?.[1] / 1024) | 0} MiB, ${MIB} of them the disk`,
);
await Promise.all([server.kill(), nbdkit.kill()]);
await fs.remove(folder);
