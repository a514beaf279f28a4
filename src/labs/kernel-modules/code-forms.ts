/** How a program or a file of the module under test shows scan codes. */
export type Form = 'bytes' | 'hexadecimal numbers' | 'decimal numbers';

const forms: Readonly<Record<Form, (received: Buffer) => number[]>> = {
  bytes: (received) => [...received],
  'hexadecimal numbers': (received) => numbersIn(received, /\b(?:0x)?([0-9a-f]{1,2})\b/gi, 16),
  'decimal numbers': (received) => numbersIn(received, /(?<![\w.])(-?\d{1,3})\b/g, 10),
};

/**
 * The form in which exactly the expected codes were received, the prefix 0xe0 included; undefined when they were not,
 * or not all of them yet. Text may begin with other words, so only its last numbers count.
 */
export function formOf(received: Buffer, expected: readonly number[]): Form | undefined {
  if (same(forms.bytes(received), expected)) return 'bytes';
  const texts: Form[] = ['hexadecimal numbers', 'decimal numbers'];
  return texts.find((form) => same(forms[form](received).slice(-expected.length), expected));
}

/** What was received instead, and what kind of mistake it looks like. */
export interface Mismatch {
  readonly evidence: readonly string[];
  readonly hint?: string;
}

/** Explains why `formOf` gave nothing. */
export function explain(received: Buffer, expected: readonly number[]): Mismatch {
  const form = isText(received) ? likelyText(received, expected) : 'bytes';
  const got = forms[form](received).map((code) => code & 0xff);
  const at = expected.findIndex((code, i) => got[i] !== code);
  const where =
    at < 0
      ? `all codes came, and then ${got.length - expected.length} more`
      : `the first ${at} codes are right`;
  const evidence = [`expected: ${hex(expected)}`, `received: ${hex(got)} (read as ${form})`, where];
  if (form !== 'bytes')
    evidence.push(`as it was: ${JSON.stringify(received.toString('latin1').slice(-300))}`);
  const hint = hintFor(got, expected);
  return hint === undefined ? { evidence } : { evidence, hint };
}

function hintFor(got: readonly number[], expected: readonly number[]): string | undefined {
  const makes = expected.filter((code) => code < 0x80);
  if (got.length === 0) return 'nothing arrived: does the handler run, and does it wake the reader?';
  if (same(got, makes)) return 'only the codes of presses arrive; releases (bit 7 set) belong to them';
  for (const by of [1, -1]) {
    if (
      same(
        got,
        expected.map((code) => code + by),
      )
    )
      return `every code is off by ${by}`;
  }
  if (same(got.slice(1), expected.slice(0, got.length - 1))) return 'every code arrives one key late';
  if (
    same(
      got,
      expected.flatMap((code) => [code, code]),
    )
  )
    return 'every code arrives twice';
  if (
    same(
      got,
      expected.filter((code) => code !== 0xe0),
    )
  )
    return 'the prefix 0xe0 is missing';
  return undefined;
}

/** Received bytes that nobody would take for scan codes: printable, with line ends or blanks. */
function isText(received: Buffer): boolean {
  return (
    received.length > 0 &&
    received.every((byte) => (byte >= 0x20 && byte < 0x7f) || (byte >= 9 && byte <= 13))
  );
}

function likelyText(received: Buffer, expected: readonly number[]): Form {
  const hits = (form: Form) => forms[form](received).filter((code) => expected.includes(code)).length;
  return hits('decimal numbers') > hits('hexadecimal numbers') ? 'decimal numbers' : 'hexadecimal numbers';
}

/** Negative numbers are break codes printed from a signed char. */
function numbersIn(received: Buffer, pattern: RegExp, base: number): number[] {
  const found = [...received.toString('latin1').matchAll(pattern)].map((match) =>
    Number.parseInt(match[1] ?? '', base),
  );
  return found.map((number) => (number < 0 ? number + 0x100 : number));
}

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

function hex(codes: readonly number[]): string {
  const shown = codes.map((code) => code.toString(16).padStart(2, '0')).join(' ');
  return shown === '' ? 'nothing' : shown.length > 400 ? `… ${shown.slice(-400)}` : shown;
}
