import { describe, expect, test } from 'vitest';
import { cpuProblem } from '../../src/machine/accelerator.js';

describe('a CPU on which drivers are to be judged', () => {
  test.each([
    ['with SMAP', 'flags\t\t: fpu smep smap sse\nbugs\t\t:\n', undefined],
    ['without SMAP', 'flags\t\t: fpu smep smapx sse\n', 'no SMAP'],
    ['of another architecture, which QEMU will tell', 'Features\t: fp asimd\n', undefined],
  ])('%s', (_, cpuinfo, problem) => {
    const found = cpuProblem(cpuinfo);
    if (problem === undefined) expect(found).toBeUndefined();
    else expect(found).toContain(problem);
  });
});
