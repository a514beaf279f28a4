import { CheckFailure } from '../../../lab/check.js';
import { messages } from '../checks/common.js';
import { bootedCheck, script } from './booted-guard.js';
import { bootTestLines, describeRounds, readRounds } from './booted-rounds.js';
import type { Bench, BootedCheck, BootedFindings, BootedSetup } from './booted-setup.js';

const SEED = 0x42;
const ROUNDS = 2;
const COUNT = 5;

/** The submission's own test of the device in the kernel: evidence, never more. */
export function bootTestChecks(setup: BootedSetup, findings: BootedFindings): BootedCheck[] {
  return [
    bootedCheck(setup, findings, {
      id: 'boot-test',
      line: 'device-repeat-seed',
      charged: false,
      title: 'the boot test prints the numbers of seed 0x42 twice, between its BEGIN and END lines',
      skip: setup.bootTest ? undefined : 'the submission has no boot test',
      talks: false,
      run: bootTest,
    }),
  ];
}

async function bootTest(bench: Bench): Promise<void> {
  const { setup, context } = bench;
  const { stdout } = await script(bench, 'dmesg');
  const lines = bootTestLines(messages(stdout));
  if (lines === undefined)
    throw new CheckFailure('the kernel log has no BEGIN and END line of the boot test');
  const witnessed = bootTestLines(messages(context.machine.console.lines(0).join('\n')));
  if (witnessed === undefined) context.note('the console has no boot test: it was seen in dmesg only');
  else if (witnessed.join('\n') !== lines.join('\n')) {
    const evidence = [
      ...witnessed.map((line) => `console: ${line}`),
      ...lines.map((line) => `dmesg: ${line}`),
    ];
    throw new CheckFailure('the boot test reads otherwise on the console than in dmesg', evidence);
  }
  const printed = readRounds(lines);
  const expected = await setup.oracle.numbers(SEED, COUNT);
  const words = `boot test: ${describeRounds(printed, expected)}`;
  const whole = printed.rounds.length === ROUNDS && printed.rounds.every(({ length }) => length === COUNT);
  const right = printed.rounds.every((numbers) => numbers.every((value, i) => value === expected[i]));
  if (!whole || !right) throw new CheckFailure(words, lines.slice(0, 20), FIXED_ADDRESS);
  context.prove(words);
}

const FIXED_ADDRESS =
  'a boot test with a fixed address reads whatever the machine has there: the numbers are charged to nobody';
