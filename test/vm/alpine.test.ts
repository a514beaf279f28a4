import { spawnSync } from 'node:child_process';
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, normalize } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Report } from '../../src/grade/report.js';
import { root, useCli } from './cli.js';

const { lab } = useCli();

/** Real, signed Alpine packages, laid out as a mirror is. */
const packages = join(root, '../shared/alpine');

/** Alpine's apk runs in a user namespace, which some containers and every chroot forbid. */
const missing = !existsSync(packages)
  ? 'the packages are absent'
  : spawnSync('unshare', ['-r', 'true']).status === 0
    ? undefined
    : 'this host forbids user namespaces';

describe.skipIf(missing !== undefined)(
  `an Alpine guest${missing === undefined ? '' : `: skipped, ${missing}`}`,
  () => {
    let server: Server;

    beforeAll(async () => {
      server = createServer((request, response) => {
        const file = join(packages, normalize(decodeURIComponent(request.url ?? '/')));
        if (!file.startsWith(packages) || !existsSync(file) || !statSync(file).isFile()) {
          response.writeHead(404).end();
          return;
        }
        response.writeHead(200, { 'content-length': statSync(file).size });
        createReadStream(file).pipe(response);
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    });

    afterAll(() => void server.close());

    test('is made from a mirror, boots, and passes all checks', async () => {
      const mirror = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const guest = ['--guest', 'alpine', '--alpine-mirror', mirror];
      const { code, stdout, stderr } = await lab('test', '--json', ...guest);
      const report = JSON.parse(stdout || '{"checks":[]}') as Report;
      const bad = report.checks.filter(({ outcome }) => outcome !== 'passed' && outcome !== 'skipped');
      expect(bad, stderr).toEqual([]);
      expect(code, stderr).toBe(0);
      expect(report.made.guest).toMatch(/^alpine 3\.19/);
    });
  },
);
