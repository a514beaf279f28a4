import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LineSplitter } from '../../src/host/lines.js';
import { nearest } from '../../src/host/nearest.js';
import { quote } from '../../src/host/run.js';
import { digestJson } from '../../src/host/store.js';

function split(chunks: readonly (string | Buffer)[]): string[] {
  const lines: string[] = [];
  const splitter = new LineSplitter((line) => lines.push(line));
  for (const chunk of chunks) splitter.push(chunk);
  splitter.end();
  return lines;
}

describe('LineSplitter', () => {
  test('ends lines at \\n, \\r\\n and \\r, and gives the last one without', () => {
    expect(split(['a\nb\r\nc\rd'])).toEqual(['a', 'b', 'c', 'd']);
    expect(split(['a\r', '\nb'])).toEqual(['a', 'b']);
    expect(split(['\n\n'])).toEqual(['', '']);
  });

  test('puts characters together that were cut between chunks', () => {
    const bytes = Buffer.from('grün\n');
    expect(split([bytes.subarray(0, 3), bytes.subarray(3)])).toEqual(['grün']);
  });

  test('gives the same lines however the stream is cut', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '\n', '\r', 'é') });
    fc.assert(
      fc.property(text, fc.array(fc.nat(40)), (whole, cuts) => {
        const bytes = Buffer.from(whole);
        const at = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
        const chunks = at.slice(1).map((end, i) => bytes.subarray(at[i], end));
        expect(split(chunks)).toEqual(split([bytes]));
      }),
    );
  });

  test('does not let one line fill the memory', () => {
    const lines = split([...Array.from({ length: 100 }, () => 'x'.repeat(10_000)), '\nnext\n']);
    expect(lines.map((line) => line.length)).toEqual([64 * 1024, 4]);
  });
});

describe('nearest', () => {
  test.each([
    ['my_rng', 'my-rng'],
    ['myrng', 'my-rng'],
    ['vblck', 'vblk'],
    ['kern', 'kernel-modules'],
    ['entirely-else', undefined],
  ])('%s → %s', (word, expected) => {
    expect(nearest(word, ['my-rng', 'kernel-modules', 'vblk'])).toBe(expected);
  });
});

describe('quote', () => {
  test('leaves plain words alone and makes everything else one shell word', () => {
    expect(quote('-device=a,b')).toBe('-device=a,b');
    expect(quote("it's")).toBe(`'it'\\''s'`);
    expect(quote('')).toBe("''");
  });
});

describe('digestJson', () => {
  test('does not depend on the order of keys, and on everything else', () => {
    expect(digestJson({ a: 1, b: [true, null] })).toBe(digestJson({ b: [true, null], a: 1 }));
    expect(digestJson({ a: 1 })).not.toBe(digestJson({ a: '1' }));
    expect(digestJson([1, 2])).not.toBe(digestJson([2, 1]));
  });
});
