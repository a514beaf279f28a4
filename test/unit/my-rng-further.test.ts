import { describe, expect, test } from 'vitest';
import { labOf } from '../../src/lab/lab.js';
import { loadLab } from '../../src/lab/registry.js';
import { FIPS_BLOCK, fipsFailures } from '../../src/labs/my-rng/further/fips.js';
import { sequenceBytes, sequences } from '../../src/labs/my-rng/further/sequences.js';
import { publishedVectors } from '../support/generator-vectors.js';

describe('the sequences of the device, as the host computes them', () => {
  test.each(publishedVectors)('$algorithm gives what $source', ({ algorithm, seed, skip, numbers }) => {
    const all = Array.from(sequences[algorithm]?.(seed, skip + numbers.length) ?? []);
    expect(all.slice(skip)).toEqual(numbers);
  });

  test('are read as little-endian bytes, also when the last number is cut', () => {
    expect(sequenceBytes('libc', 0x42, 6).toString('hex')).toBe('17fc0d11d5af');
  });
});

describe('fipsFailures', () => {
  const block = (byte: number) => Buffer.alloc(FIPS_BLOCK, byte);

  test('is content with a good generator, and with no bad one', () => {
    expect(fipsFailures(sequenceBytes('mt19937', 1, FIPS_BLOCK))).toEqual([]);
    expect(fipsFailures(sequenceBytes('libc', 1, FIPS_BLOCK))).toContain('poker');
    expect(fipsFailures(block(0))).toEqual(['monobit', 'poker', 'runs', 'long run']);
    expect(fipsFailures(block(0b10101010))).toEqual(['poker', 'runs']);
  });

  test('finds one run of 26 equal bits in an otherwise good block', () => {
    const data = sequenceBytes('mt19937', 1, FIPS_BLOCK);
    data.fill(0, 100, 104);
    expect(fipsFailures(data)).toEqual(['long run']);
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
