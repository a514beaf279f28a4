import { type Check, type CheckContext, CheckFailure, expectEqual } from '../../../lab/check.js';
import { glibcRandom } from '../glibc-random.js';
import { messages } from './common.js';

const SEED = 0x42;

/** What the kernel itself says about the device while it boots, when it was built with the boot test. */
export const bootChecks: readonly Check[] = [
  {
    id: 'boot-test',
    title: 'the boot test reads the numbers of seed 0x42 twice, between its BEGIN and END lines',
    deadline: 10_000,
    needs: ['pci-identity'],
    skip: ({ variant }) => (variant === 'built-in' ? undefined : `the variant ${variant} has no boot test`),
    run: bootTest,
  },
];

async function bootTest({ guest, signal, prove, note }: CheckContext): Promise<void> {
  const { stdout } = await guest.exec(['dmesg'], { signal, check: true });
  const lines = messages(stdout);
  const begin = lines.indexOf('BEGIN MY-RNG TEST');
  const end = lines.indexOf('END MY-RNG TEST');
  if (begin === -1 || end < begin)
    throw new CheckFailure('the kernel log has no BEGIN and END line of the boot test');
  const seen = lines.slice(begin + 1, end);
  note(seen.join('\n'));
  expectEqual('the boot test', seen.join('\n'), roundsOf(SEED).join('\n'));
  prove(`two rounds of ${glibcRandom(SEED, 5).join(' ')}`);
}

/** The ten lines that both the boot test and the application print for a seed. */
export function roundsOf(seed: number): string[] {
  return roundsWith(glibcRandom(seed, 5));
}

/** The same for numbers that come from elsewhere. */
export function roundsWith(numbers: readonly number[]): string[] {
  return [1, 2].flatMap((round) => numbers.map((value, i) => `Round ${round} number ${i + 1}: ${value}`));
}
