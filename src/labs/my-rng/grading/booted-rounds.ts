/** Numbers printed by the boot test or by an application, taken from lines of any wording. */
export interface PrintedRounds {
  /** By round; rounds are told by their number in the line, or else by halves. */
  readonly rounds: readonly (readonly number[])[];
}

const NUMBERED = /round\D{0,10}(\d{1,3})\D{1,40}(\d{1,4})\s*[:=]\s*(-?\d{1,10}|0x[0-9a-f]{1,8})\b/i;
const ANY = /(-?\b\d{1,10}|\b0x[0-9a-f]{1,8})\s*$/i;

/** Pure. `Round 1 number 2: 846930886` and the like; otherwise the last number of each line, in two halves. */
export function readRounds(lines: readonly string[]): PrintedRounds {
  const rounds = new Map<string, number[]>();
  for (const line of lines) {
    const match = NUMBERED.exec(line);
    if (match === null) continue;
    const [, round = '', , value = ''] = match;
    rounds.set(round, [...(rounds.get(round) ?? []), unsigned(value)]);
  }
  if (rounds.size > 0) return { rounds: [...rounds.values()] };
  const numbers = lines.flatMap((line) => {
    const value = ANY.exec(line)?.[1];
    return value === undefined ? [] : [unsigned(value)];
  });
  const half = Math.floor(numbers.length / 2);
  return { rounds: half === 0 ? [] : [numbers.slice(0, half), numbers.slice(half)] };
}

/** Printed with %d, the upper half of the range is negative. */
function unsigned(text: string): number {
  return Number(text) >>> 0;
}

/**
 * What two rounds prove, in words for the grader. Pure.
 *
 * @param expected the device's numbers after the seed that the exercise names for this program
 */
export function describeRounds({ rounds }: PrintedRounds, expected: readonly number[]): string {
  const [first, ...others] = rounds.map((numbers) => numbers.join(' '));
  if (first === undefined) return 'it printed no rounds of numbers';
  if (others.length === 0) return `it printed one round only: ${first}`;
  if (others.some((text) => text !== first))
    return `its rounds differ: ${[first, ...others].slice(0, 3).join(' | ')}`;
  const same = rounds[0]?.every((value, i) => value === expected[i]) === true;
  return same
    ? `its ${rounds.length} rounds are equal, and are the device's numbers: ${first}`
    : `its ${rounds.length} rounds are equal, but not the device's numbers for the seed of the exercise: ${first}`;
}

/** The lines between the last BEGIN and its END, without them; undefined when they are missing. Pure. */
export function bootTestLines(lines: readonly string[]): string[] | undefined {
  const begin = lines.findLastIndex((line) => /BEGIN MY-RNG TEST/i.test(line));
  if (begin === -1) return undefined;
  const length = lines.slice(begin + 1).findIndex((line) => /END MY-RNG TEST/i.test(line));
  return length === -1 ? undefined : lines.slice(begin + 1, begin + 1 + length);
}
