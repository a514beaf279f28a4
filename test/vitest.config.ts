import { defineConfig } from 'vitest/config';

/** `order`: projects run one after another, so that what takes the whole host disturbs nothing else. */
const project = (name: string, order: number, options: object = {}) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    pool: 'forks' as const,
    sequence: { groupOrder: order },
    ...options,
  },
});

/**
 * Unit tests never boot; integration tests use small real processes; vm tests start real machines, one at a time; device
 * tests ask registers, without a guest, on variants of the QEMU that the vm tests have built.
 */
export default defineConfig({
  root: `${import.meta.dirname}/..`,
  test: {
    projects: [
      // properties are tried a hundred times, on a host that may be busy
      project('unit', 0, { testTimeout: 60_000 }),
      project('integration', 1, { testTimeout: 60_000, hookTimeout: 60_000 }),
      project('vm', 2, {
        testTimeout: 2_400_000, // the first one builds QEMU and Linux, if the cache does not hold them
        hookTimeout: 2_400_000,
        fileParallelism: false,
        maxWorkers: 1,
      }),
      project('device', 3, { testTimeout: 60_000, hookTimeout: 60_000 }),
    ],
  },
});
