import tab from '@bomb.sh/tab/commander';
import { Command } from '@commander-js/extra-typings';
import { addBench } from './commands/bench.js';
import { addCache } from './commands/cache.js';
import { addConsole } from './commands/console.js';
import { addCp } from './commands/cp.js';
import { addDoctor } from './commands/doctor.js';
import { addDown } from './commands/down.js';
import { addExec } from './commands/exec.js';
import { addFuzz } from './commands/fuzz.js';
import { addGrade } from './commands/grade.js';
import { addLogs } from './commands/logs.js';
import { addPatch } from './commands/patch.js';
import { addReplay } from './commands/replay.js';
import { addSelftest } from './commands/selftest.js';
import { addSources } from './commands/sources.js';
import { addSsh } from './commands/ssh.js';
import { addStatus } from './commands/status.js';
import { addTest } from './commands/test.js';
import { addUp } from './commands/up.js';
import { addVblk } from './commands/vblk.js';
import { addWork } from './commands/work.js';

/**
 * The command line. Only definitions: each action loads what it needs when it runs, because completion runs
 * through here at every TAB.
 */
export function makeProgram(signal: AbortSignal): Command {
  const program = new Command('lab')
    .description(
      'Takes kernel and virtual-device exercises from nothing to a verdict, on real QEMU machines.',
    )
    .version('0.1.0')
    .exitOverride()
    .showHelpAfterError('(see `lab --help`, and `lab COMMAND --help` for one command)')
    .addHelpText('after', HELP);
  const add = [addUp, addTest, addSsh, addExec, addCp, addConsole, addLogs, addStatus, addDown];
  for (const addCommand of [
    ...add,
    addWork,
    addPatch,
    addGrade,
    addReplay,
    addBench,
    addSelftest,
    addFuzz,
    addVblk,
    addDoctor,
    addSources,
    addCache,
  ]) {
    addCommand(program as Command, signal);
  }
  for (const command of program.commands) command.exitOverride();
  tab(program as never, { completionCommandName: 'completion' });
  return program as Command;
}

const HELP = `
Examples:
  lab up                      build everything that is needed, start the machine of my-rng
  lab test                    run the checks of the lab on it
  lab ssh                     log in
  lab exec -- lspci -nn       run one command
  lab down                    shut it down
  lab work                    a folder to do the exercise in; lab patch makes the patches of it
  lab grade submissions/*     marks and feedback for hand-ins

Exit codes: 0 all passed, 1 checks failed, 2 wrong usage, 69 the host could not do it, 130 interrupted.
Completion: source <(lab completion bash)`;
