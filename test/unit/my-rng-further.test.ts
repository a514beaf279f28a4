import { describe, expect, test } from 'vitest';
import { labOf } from '../../src/lab/lab.js';
import { loadLab } from '../../src/lab/registry.js';
import { sequenceBytes, sequences } from '../../src/labs/my-rng/further/sequences.js';

describe('the sequences of the device, as the host computes them', () => {
  // the exercise's; the generator's by its definition, from state 1; the authors' pcg32-demo; mt19937ar.c
  test.each([
    ['libc', 0x42, [286129175, 1594929109, 971802288, 222134722, 1335014133]],
    ['xorshift64star', 1, [0x47e4ce4b, 0xabcfa6a8, 0xb9d10d8f]],
    ['pcg32', 42, [0xa15c02b7, 0x7b47f409, 0xba1d3330, 0x83d2f293, 0xbfa4784b, 0xcbed606e]],
    ['mt19937', 5489, [3499211612, 581869302, 3890346734, 3586334585, 545404204]],
  ])('%s gives the published numbers', (algorithm, seed, numbers) => {
    expect(Array.from(sequences[algorithm]?.(seed, numbers.length) ?? [])).toEqual(numbers);
  });

  test('number 10000 of std::mt19937 is the one that the C++ standard names', () => {
    expect(sequences.mt19937?.(5489, 10000)[9999]).toBe(4123659995);
  });

  test('are read as little-endian bytes, also when the last number is cut', () => {
    expect(sequenceBytes('libc', 0x42, 6).toString('hex')).toBe('17fc0d11d5af');
  });
});

describe('labOf', () => {
  test('a variant with parts has its own checks, and its devices come after those of the lab', async () => {
    const lab = await loadLab('my-rng');
    const further = labOf(lab, 'further');
    expect(further.devices[0]).toBe(lab.devices[0]);
    expect(further.devices.length).toBeGreaterThan(2);
    expect(Object.keys(further.modules)).toEqual(['my_rng', 'my_rng_pci', 'my_rng_fixed']);
    expect(further.checks).not.toEqual(lab.checks);
    expect(further.deploy).not.toEqual(lab.deploy);
  });

  test('any other variant is the lab itself', async () => {
    const lab = await loadLab('my-rng');
    expect(labOf(lab, 'built-in')).toBe(lab);
  });
});
