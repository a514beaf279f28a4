import { defineConfig } from 'vitest/config';

const project = (name: string, options: object = {}) => ({
  test: { name, include: [`test/${name}/**/*.test.ts`], pool: 'forks' as const, ...options },
});

/** Unit tests never boot; integration tests use small real processes; vm tests start real machines, one at a time. */
export default defineConfig({
  root: `${import.meta.dirname}/..`,
  test: {
    projects: [
      project('unit'),
      project('integration', { testTimeout: 60_000, hookTimeout: 60_000 }),
      project('vm', {
        testTimeout: 600_000,
        hookTimeout: 2_400_000,
        fileParallelism: false,
        maxWorkers: 1,
      }),
    ],
  },
});
