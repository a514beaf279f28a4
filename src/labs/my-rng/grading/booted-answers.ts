import { CheckFailure } from '../../../lab/check.js';
import type { EventOf } from '../probe.js';

/** Commands that an enhancement may well add: the exercise's own letter, and room for what is copied. */
const MAY_EXIST = new Set([
  'no-direction',
  'both-directions',
  'get-number-0',
  'get-number-2',
  'seed-number-0',
  'seed-number-2',
  'get-8-bytes',
  'seed-8-bytes',
]);

export interface CommandsJudged {
  /** Commands that failed as they should. */
  readonly refused: number;
  /** Commands of the exercise's letter that the driver accepts. */
  readonly extra: readonly string[];
  readonly notes: readonly string[];
}

/**
 * Judges the answers to commands that are not the exercise's. EINVAL instead of ENOTTY is tolerated with a note; a
 * further command of the letter q is taken for an enhancement.
 *
 * @throws CheckFailure when one is accepted, overwrites memory, or fails with something else.
 */
export function judgeCommands(answers: readonly EventOf<'command'>[]): CommandsJudged {
  const shown = answers.map(({ name, request, error, intact }) => {
    return `${name} ${request}: ${error ?? 'accepted'}${intact ? '' : ", and the user's memory was written"}`;
  });
  const foreign = answers.filter(({ name, error }) => error !== null || !MAY_EXIST.has(name));
  const accepted = foreign.filter(({ error }) => error === null);
  const [first] = accepted;
  if (first !== undefined) {
    const fact = `the driver reports success for ${first.request} (${first.name}), a command that it does not have`;
    const hint =
      'let the default case of the switch return -ENOTTY, and compare whole commands, not parts of them';
    throw new CheckFailure(fact, shown, hint);
  }
  const wrote = foreign.find(({ intact }) => !intact);
  if (wrote !== undefined) {
    const fact = `the command ${wrote.request} (${wrote.name}) failed, but wrote into the user's memory`;
    throw new CheckFailure(fact, shown, 'let the default case of the switch return -ENOTTY at once');
  }
  const other = foreign.find(({ error }) => error !== 'ENOTTY' && error !== 'EINVAL');
  if (other !== undefined) {
    const fact = `the driver answers the unknown command ${other.request} with ${other.error} instead of ENOTTY`;
    throw new CheckFailure(fact, shown, 'let the default case of the switch return -ENOTTY');
  }
  if (foreign.length === 0) throw new CheckFailure('the driver refuses no command at all', shown);
  const extra = answers
    .filter((answer) => !foreign.includes(answer))
    .map(({ name, request }) => `${request} (${name})`);
  const invalid = foreign.filter(({ error }) => error === 'EINVAL').length;
  const notes = [
    invalid === 0
      ? []
      : [`${invalid} unknown commands gave EINVAL; Linux means ENOTTY, which was not charged`],
    extra.map((command) => `the driver accepts ${command} as well: an enhancement?`),
  ];
  return { refused: foreign.length, extra, notes: notes.flat() };
}

/** Addresses that the probe tries: 12 for get, and all but the read-only one for seed. */
const TRIED = 23;
const CHECK_RESULT = 'return -EFAULT when copy_to_user() or copy_from_user() does not return 0';

/**
 * Judges the answers to bad addresses: each has to be EFAULT, and nothing may be written.
 *
 * @param intact whether the read-only page kept its contents
 * @throws CheckFailure with all wrong answers.
 */
export function judgeAddresses(answers: readonly EventOf<'tried'>[], intact: boolean): void {
  const wrong = answers.filter(({ error }) => error !== 'EFAULT');
  const shown = wrong.map(
    ({ command, case: name, address, error }) => `${command} at ${address} (${name}): ${error ?? 'success'}`,
  );
  // A driver that ignores the result reports success everywhere; one that does not check the address, only here.
  const ignores = (command: string) =>
    wrong.some((answer) => answer.command === command && answer.case === 'null');
  const kernel = wrong.find(
    (answer) => answer.error === null && answer.case.startsWith('kernel') && !ignores(answer.command),
  );
  if (kernel !== undefined) {
    const verb = kernel.command === 'get' ? 'writes to' : 'reads from';
    const fact = `the driver ${verb} a kernel address that a user program named (${kernel.address})`;
    const hint =
      'use copy_to_user() and copy_from_user() without __: they refuse addresses that are not the user’s';
    throw new CheckFailure(fact, shown, hint);
  }
  const success = wrong.find(({ error }) => error === null);
  if (success !== undefined) {
    const fact = `the driver reports success for ${success.command} at the bad address ${success.address} (${success.case})`;
    throw new CheckFailure(fact, shown, CHECK_RESULT);
  }
  const [other] = wrong;
  if (other !== undefined) {
    const fact = `the driver answers ${other.command} at the bad address ${other.address} (${other.case}) with ${other.error} instead of EFAULT`;
    throw new CheckFailure(fact, shown, CHECK_RESULT);
  }
  if (!intact) throw new CheckFailure("a get wrote into the user's read-only page", [], 'use copy_to_user()');
  if (answers.length !== TRIED) {
    throw new CheckFailure(`the probe tried ${answers.length} addresses instead of ${TRIED}`);
  }
}
