/** More steps than any argument of ours needs; a NaN would go on for ever. */
const STEPS = 100_000;
const PRECISION = 1e-15;
const TINY = 1e-300;

/** Tails of the chi-square distribution: how probable a statistic this small, or this large, is by chance. */
export function chiSquareTails(statistic: number, degrees: number): { lower: number; upper: number } {
  return gammaTails(degrees / 2, statistic / 2);
}

/** Complementary error function of a number that is not negative. */
export function erfc(x: number): number {
  return gammaTails(0.5, x * x).upper;
}

/**
 * The regularized incomplete gamma functions P(a, x) and Q(a, x), both to full relative precision: by their series
 * below a + 1, by their continued fraction above (Abramowitz and Stegun 6.5.29 and 6.5.31).
 */
export function gammaTails(a: number, x: number): { lower: number; upper: number } {
  if (x <= 0) return { lower: 0, upper: 1 };
  const factor = Math.exp(a * Math.log(x) - x - logGamma(a));
  if (x < a + 1) {
    const lower = factor * series(a, x);
    return { lower, upper: 1 - lower };
  }
  const upper = factor * fraction(a, x);
  return { lower: 1 - upper, upper };
}

function series(a: number, x: number): number {
  let term = 1 / a;
  let sum = term;
  for (let n = 1; n < STEPS && term > sum * PRECISION; n += 1) {
    term *= x / (a + n);
    sum += term;
  }
  return sum;
}

/** Lentz's method. */
function fraction(a: number, x: number): number {
  let b = x + 1 - a;
  let c = 1 / TINY;
  let d = 1 / b;
  let value = d;
  for (let n = 1; n < STEPS; n += 1) {
    const numerator = -n * (n - a);
    b += 2;
    d = 1 / nonZero(numerator * d + b);
    c = nonZero(b + numerator / c);
    value *= d * c;
    if (Math.abs(d * c - 1) < PRECISION) break;
  }
  return value;
}

function nonZero(value: number): number {
  return Math.abs(value) < TINY ? TINY : value;
}

/** Lanczos' approximation with g = 7 and nine terms. */
const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];

function logGamma(a: number): number {
  if (a < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * a)) - logGamma(1 - a);
  const [first = 1, ...rest] = LANCZOS;
  const sum = rest.reduce((total, term, index) => total + term / (a + index), first);
  const t = a + 6.5;
  return 0.5 * Math.log(2 * Math.PI) + (a - 0.5) * Math.log(t) - t + Math.log(sum);
}
