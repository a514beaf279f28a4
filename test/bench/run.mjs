// Measures what a user waits for, side by side in one run, and prints where the time goes. Not a test: it asserts
// nothing. Run it on an idle host: `node test/bench/run.mjs [rounds]`; with `--cold` also from empty caches.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { $, cd, chalk } from 'zx';

const rounds = Number(process.argv.find((arg) => /^\d+$/.test(arg)) ?? 5);
const cold = process.argv.includes('--cold');
cd(join(import.meta.dirname, '../..'));
process.env.CI = 'true';
process.env.LAB_STATE = await mkdtemp(join(tmpdir(), 'lab-bench-'));
$.quiet = true;

const results = [];

async function timed(name, command) {
  const started = performance.now();
  const output = await command();
  results.push({ name, seconds: (performance.now() - started) / 1000 });
  return output;
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

const up = (...args) => $`./lab up --timing ${args}`;
const down = () => $`./lab down --all`;

try {
  if (cold) {
    const cache = await mkdtemp(join(tmpdir(), 'lab-bench-cold-'));
    const { stderr } = await timed(
      'up from empty caches',
      () => $({ env: { ...process.env, XDG_CACHE_HOME: cache } })`./lab up --timing`,
    );
    console.log(stderr.slice(stderr.indexOf('\nstep')));
    await down();
    await rm(cache, { recursive: true, force: true });
  }
  await up();
  await down();
  const tables = {};
  for (let i = 0; i < rounds; i += 1) {
    for (const profile of ['course', 'fast']) {
      const { stderr } = await timed(`up after down, ${profile}`, () => up('--profile', profile));
      tables[profile] = stderr.slice(stderr.indexOf('\nstep'));
      await timed(`up when it runs, ${profile}`, () => up('--profile', profile));
      if (profile === 'course') await timed('test', () => $`./lab test`);
      await timed(`down, ${profile}`, down);
    }
  }
  for (const [profile, table] of Object.entries(tables))
    console.log(`${chalk.bold(profile)}, last round${table}`);
  console.log(`${'what'.padEnd(28)}  median     min     max  (s, ${rounds} rounds)`);
  for (const name of new Set(results.map((result) => result.name))) {
    const values = results.filter((result) => result.name === name).map((result) => result.seconds);
    const columns = [median(values), Math.min(...values), Math.max(...values)].map((v) =>
      v.toFixed(2).padStart(8),
    );
    console.log(`${name.padEnd(28)}${columns.join('')}`);
  }
  const of = (name) =>
    median(results.filter((result) => result.name === name).map((result) => result.seconds));
  const ratio = of('up after down, course') / of('up after down, fast');
  console.log(`course takes ${ratio.toFixed(2)} × the time of fast`);
} finally {
  await $`./lab down --all --force`.nothrow();
  await rm(process.env.LAB_STATE, { recursive: true, force: true });
}
