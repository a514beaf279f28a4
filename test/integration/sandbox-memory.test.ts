import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { withMemory } from '../../src/sandbox/jail.js';
import { owner } from '../../src/sandbox/stage.js';
import { failureOf, inJail, makeTree, outside, smallLimits } from '../support/jails.js';
import { useTempFolder } from '../support/temp.js';

const folder = useTempFolder();
let tree = '';

beforeAll(async () => {
  tree = await makeTree(join(folder.path, 'tree'));
});

/** Only there does a limit that is raised again look as if it had never been reached, but the host had no memory left. */
const V1 = '/sys/fs/cgroup/memory';
const isV1 = process.getuid?.() === 0 && existsSync(join(V1, 'memory.oom_control'));

describe.skipIf(!isV1)(
  'what the kernel killed to get memory back (needs root and control groups of version 1)',
  () => {
    test('is the host’s loss while the jail had memory left', async () => {
      expect(await failureOf(starve({ raise: true }))).toMatchObject({
        code: 'sandbox/memory',
        blame: 'host',
      });
    });

    test('is its own where the jail had used up its own', async () => {
      expect(await failureOf(starve({ raise: false }))).toMatchObject({ code: 'run/failed' });
    });

    test('makes a bad verdict on what ran meanwhile the host’s, and no good one', async () => {
      const verdict = (raise: boolean) => async () => (await starve({ raise, accept: [137] })).exitCode;
      expect(await failureOf(withMemory(verdict(true), () => false))).toMatchObject({
        code: 'sandbox/memory',
      });
      expect(await withMemory(verdict(true), () => true)).toBe(137);
      expect(await withMemory(verdict(false), () => false)).toBe(137);
    });

    /** Lowers a running jail's limit below what it then takes, and raises it again afterwards. */
    async function starve({ raise, accept = [0] }: { raise: boolean; accept?: number[] }) {
      const go = join(await mkdtemp(join(folder.path, 'starve-')), 'go');
      await outside(`mkfifo -m 666 ${go}`);
      const group = () => join(V1, readdirSync(V1).find((name) => name.includes(`-${owner()}-`)) ?? 'none');
      const limit = (mib: number) => writeFile(join(group(), 'memory.limit_in_bytes'), String(mib << 20));
      const steps: Readonly<Record<string, () => Promise<void>>> = {
        ready: () => limit(64),
        over: () => limit(raise ? 512 : 64),
      };
      const errors: unknown[] = [];
      const onLine = (line: string) =>
        void steps[line]?.()
          .then(() => writeFile(go, ''))
          .catch((error) => errors.push(error));
      const fill = `python3 -c 'b = bytearray(b"x") * (600 << 20)' 2>/dev/null || code=$?`;
      const script = `echo ready; cat ${go}; ${fill}; echo over; cat ${go}; exit $code`;
      const jail = { limits: { ...smallLimits, memory: 512 << 20 }, writable: [{ from: go }] };
      return await inJail(tree, script, jail, { accept, onLine }).finally(() => expect(errors).toEqual([]));
    }
  },
);
