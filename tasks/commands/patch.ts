import type { Command } from '@commander-js/extra-typings';
import type { StepContext } from '../../src/events.js';
import type { Grading } from '../../src/grade/grading.js';
import type { MadePatch } from '../../src/workfolder/patches.js';
import type { MadeFrom, WorkFolder } from '../../src/workfolder/record.js';
import { DEFAULT_LAB, NO_GUEST } from '../options.js';
import type { Graded } from '../ui/patches.js';

/** `lab patch`: the patches to hand in, of a work folder. */
export function addPatch(program: Command, signal: AbortSignal): void {
  program
    .command('patch')
    .summary('make the patches to hand in, and grade them')
    .description(
      'Compares the trees of a work folder with the vanilla ones and writes the patches that the exercise asks for,\n' +
        'named as it names them. Build products and what editors leave stay out; what no patch can carry is refused.\n' +
        'Each patch is proved to give exactly the work tree, read as a grader reads it, and graded.\n\n' +
        'Names in a patch begin with a/ and b/ instead of the folders of your disk, and there are no times: so it\n' +
        'applies with `patch -p1` in any vanilla tree, and the same work gives the same bytes.',
    )
    .argument('[folder]', `the work folder, or one in it (default: this one, else ${DEFAULT_LAB}-work)`)
    .option('--into <folder>', 'where the patches go (default: hand-in in the work folder)')
    .option('--no-grade', 'do not grade them')
    .option('--no-canary', 'do not grade the reference solution before and after')
    .option('--force', 'leave out what no patch can carry; overwrite files of the same name')
    .option('-y, --yes', 'install missing host packages without asking')
    .option('--timing', 'print how long each step took')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', EXAMPLES)
    .action((folder, flags) => patch(folder, flags, signal));
}

const EXAMPLES = `
Examples:
  lab patch                             # my-rng-work/hand-in/*.patch, and their marks
  lab patch ~/rng --no-grade
  lab patch ~/rng --into ~/hand-in --json`;

interface PatchFlags {
  readonly into?: string;
  readonly grade: boolean;
  readonly canary: boolean;
  readonly force?: true;
  readonly yes?: true;
  readonly timing?: true;
  readonly json?: true;
}

async function patch(folder: string | undefined, flags: PatchFlags, signal: AbortSignal): Promise<void> {
  const { join, resolve } = await import('node:path');
  const { loadGradingOf } = await import('../../src/grade/load-grading.js');
  const { makePatches, patchSteps, writePatches } = await import('../../src/workfolder/patches.js');
  const { hostTimeouts } = await import('../host.js');
  const { preflight } = await import('../preflight.js');
  const { withDisplay } = await import('../ui/display.js');
  const { describeMarks, describePatches, patchesJson } = await import('../ui/patches.js');
  const work = await findFolder(folder);
  const grading = await loadGradingOf(work.record.lab);
  const force = flags.force === true;
  await preflight({ yes: flags.yes === true, needs: ['sources'], signal });
  const display = { steps: { ...patchSteps, reading: READING }, signal, timing: flags.timing === true };
  const { patches, remarks } = await withDisplay(display, async (context) => {
    const request = { lab: grading.lab, work, rules: rulesOf(grading), force };
    const made = await makePatches(request, context, hostTimeouts());
    return { patches: made, remarks: await read(made, grading, context) };
  });
  const into = flags.into === undefined ? join(work.folder, 'hand-in') : resolve(flags.into);
  const paths = await writePatches(into, patches, { lab: grading.lab, force });
  const out = flags.json === true ? process.stderr : process.stdout;
  out.write(describePatches(patches, paths, remarks));
  const graded = flags.grade ? await gradeThem(work, patches, into, flags, signal) : undefined;
  if (graded !== undefined) out.write(`\n${describeMarks(graded)}`);
  if (flags.json === true) process.stdout.write(patchesJson(patches, paths, remarks, graded));
}

/** The named folder; else the one that we are in; else the one that `lab work` makes by default. */
async function findFolder(folder: string | undefined): Promise<WorkFolder> {
  const { existsSync } = await import('node:fs');
  const { join } = await import('node:path');
  const { findWork, WORK_FILE } = await import('../../src/workfolder/record.js');
  const usual = `${DEFAULT_LAB}-work`;
  return await findWork(folder ?? (existsSync(join(usual, WORK_FILE)) ? usual : '.'));
}

const READING = 'Read as a hand-in';

function rulesOf({ lab, rules }: Grading) {
  if (rules === undefined) throw new TypeError(`hand-ins of ${lab.name} are no patches`);
  return rules;
}

/** What grading will remark about them. */
async function read(
  patches: readonly MadePatch[],
  grading: Grading,
  context: StepContext,
): Promise<string[]> {
  const { mkdir } = await import('node:fs/promises');
  const { join } = await import('node:path');
  const { runStep } = await import('../../src/events.js');
  const { readBack } = await import('../../src/workfolder/read-back.js');
  const { hostTimeouts } = await import('../host.js');
  return await runStep(context, 'reading', READING, ({ signal }) =>
    withStaged(patches, async (staged, scratch) => {
      const into = join(scratch, 'reading');
      await mkdir(into);
      const options = { rules: rulesOf(grading), into, signal, timeouts: hostTimeouts() };
      const { changes, problems } = await readBack(staged, patches, options);
      return { value: [...problems.map(({ fact }) => fact), ...changes] };
    }),
  );
}

/** A folder that holds nothing but the patches. */
async function withStaged<T>(
  patches: readonly MadePatch[],
  use: (staged: string, scratch: string) => Promise<T>,
): Promise<T> {
  const { mkdir, mkdtemp, rm, writeFile } = await import('node:fs/promises');
  const { tmpdir } = await import('node:os');
  const { join } = await import('node:path');
  const scratch = await mkdtemp(join(tmpdir(), 'lab-hand-in-'));
  try {
    const staged = join(scratch, 'hand-in');
    await mkdir(staged);
    for (const { name, text } of patches) await writeFile(join(staged, name), text, 'latin1');
    return await use(staged, scratch);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** The folder with the patches, when it holds nothing else: then `lab replay` finds it again. */
async function gradeThem(
  { record: { lab, trees } }: WorkFolder,
  patches: readonly MadePatch[],
  into: string,
  flags: PatchFlags,
  signal: AbortSignal,
): Promise<Graded> {
  const { readdir } = await import('node:fs/promises');
  const { gradePaths, judgeExit } = await import('./grade.js');
  const choice = (from: MadeFrom | undefined) => ({ path: from?.path, version: from?.wanted });
  const [qemu, linux] = [choice(trees.qemu), choice(trees.linux)];
  const sources = {
    ...{ qemu: qemu.path, qemuVersion: qemu.version, linux: linux.path, linuxVersion: linux.version },
    ...{ ...NO_GUEST, sourceMirror: [] },
  };
  const { canary, yes, timing } = flags;
  const how = { lab, canary, sandbox: true, ...(yes ? { yes } : {}), ...(timing ? { timing } : {}) };
  const grade = async (path: string) => await gradePaths([path], { ...sources, ...how }, signal);
  const alone = (await readdir(into)).every((name) => patches.some((patch) => patch.name === name));
  const graded = alone ? await grade(into) : await withStaged(patches, grade);
  await judgeExit(graded.report);
  return graded;
}
