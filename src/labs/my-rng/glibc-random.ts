/** Degree and separation of glibc's default generator, TYPE_3 (stdlib/random_r.c). */
const DEGREE = 31;
const SEPARATION = 3;

/** Numbers that `srandom_r()` throws away before the first one is handed out. */
const DISCARDED = 10 * DEGREE;

/**
 * The first `count` numbers of glibc's `rand()` after `srand(seed)`.
 *
 * @param seed unsigned 32-bit; 0 counts as 1, as in glibc.
 * @returns numbers from 0 to 2^31 - 1.
 */
export function glibcRandom(seed: number, count: number): number[] {
  const state = initialState(seed);
  const numbers: number[] = [];
  for (let i = DEGREE; numbers.length < count; i += 1) {
    const next = ((state[i - SEPARATION] ?? 0) + (state[i - DEGREE] ?? 0)) >>> 0;
    state.push(next);
    if (i >= DEGREE + DISCARDED) numbers.push(next >>> 1);
  }
  return numbers;
}

/**
 * 31 words of the minimal standard generator 16807 x mod (2^31 - 1), computed by Schrage's method in signed
 * arithmetic. The additive generator starts with its two taps on words 0 and 3, which is what the rotation is for.
 */
function initialState(seed: number): number[] {
  let word = seed === 0 ? 1 : seed | 0;
  const words = [word >>> 0];
  for (let i = 1; i < DEGREE; i += 1) {
    const high = Math.trunc(word / 127773);
    const low = word % 127773;
    word = 16807 * low - 2836 * high;
    if (word < 0) word += 2147483647;
    words.push(word >>> 0);
  }
  return [...words.slice(SEPARATION), ...words.slice(0, SEPARATION)];
}
