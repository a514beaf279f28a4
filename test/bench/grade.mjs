// Measures what a grader waits for, side by side in one run: a pair of patches and a loose module that nobody has
// built before, and the same once more. Asserts nothing. Run it on an idle host: `node test/bench/grade.mjs [rounds]`.
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { $, cd } from 'zx';

const rounds = Number(process.argv.find((arg) => /^\d+$/.test(arg)) ?? 5);
cd(join(import.meta.dirname, '../..'));
const state = await mkdtemp(join(tmpdir(), 'lab-bench-'));
process.env.CI = 'true';
process.env.LAB_STATE = state;
$.quiet = true;

/** Makes the hand-in of a fixture and gives its folder. */
async function handIn(name, number) {
  await $`./lab selftest --filter ${name} --no-canary`.nothrow();
  const dir = join(state, 'gradings', String(number), 'hand-ins', name.replace('/', '-'));
  const [made] = await readdir(dir);
  return join(dir, made);
}

/** A copy in which a comment of each source differs, so that nothing of it was built before. */
async function salted(folder, salt) {
  const to = join(state, `salted-${salt}`);
  await cp(folder, to, { recursive: true });
  for (const entry of await readdir(to, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/\.(patch|c)$/.test(entry.name)) continue;
    const path = join(entry.parentPath, entry.name);
    await writeFile(path, (await readFile(path, 'utf8')).replaceAll(' my_rng ', ` my_rng ${salt} `));
  }
  return to;
}

const results = new Map();

async function grade(name, path) {
  const started = performance.now();
  // a hand-in that loses marks is no failure of the command
  const { stdout } = await $`./lab grade ${path} --no-canary --json`.nothrow();
  const [{ timings, marks }] = JSON.parse(stdout).submissions;
  const row = { ...timings, command: performance.now() - started, marks: marks.got };
  results.set(name, [...(results.get(name) ?? []), row]);
}

function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

try {
  const pair = await handIn('good/git-diff', 1);
  const module = await handIn('good/module', 2);
  for (let round = 0; round < rounds; round += 1) {
    const fresh = await salted(pair, `p${process.pid}${round}`);
    await grade('pair of patches', fresh);
    await grade('the same again', fresh);
    await grade('device and loose module', await salted(module, `m${process.pid}${round}`));
  }
  const stages = [
    'feedback',
    'bare',
    'build-device',
    'build-driver',
    'cross',
    'pair',
    'total',
    'command',
    'marks',
  ];
  console.log(
    `${'median of'.padEnd(26)}${stages.map((stage) => stage.padStart(13)).join('')}   (ms, ${rounds} rounds)`,
  );
  for (const [name, rows] of results) {
    const cells = stages.map((stage) =>
      String(Math.round(median(rows.map((row) => row[stage] ?? 0)))).padStart(13),
    );
    console.log(`${name.padEnd(26)}${cells.join('')}`);
  }
  const total = (name) => median(results.get(name).map((row) => row.total));
  const ratio = total('pair of patches') / total('the same again');
  console.log(`a pair that nobody built before takes ${ratio.toFixed(1)} × the time of one that was`);
} finally {
  await rm(state, { recursive: true, force: true });
}
