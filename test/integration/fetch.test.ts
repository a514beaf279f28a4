import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fetchBytes, fetchFile, fetchText } from '../../src/host/fetch.js';
import { scaled } from '../../src/timeouts.js';
import { type Mirror, startMirror } from '../support/http-mirror.js';
import { quietStep } from '../support/quiet-step.js';

const timeouts = { ...scaled(1), fetchHeaders: 300, fetchIdle: 300 };
const body = randomBytes(1_000_000);
const sha256 = sha(body);
let mirror: Mirror;
let dir: string;
let to: string;

beforeEach(async () => {
  mirror = await startMirror();
  mirror.serve('/file', body);
  dir = await mkdtemp(join(tmpdir(), 'lab-fetch-'));
  to = join(dir, 'downloads', 'file');
});

afterEach(async () => {
  await mirror[Symbol.asyncDispose]();
  await rm(dir, { recursive: true });
});

function sha(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function fetching(urls: string[], more: object = { sha256 }, step = quietStep()) {
  return fetchFile({ urls, to, ...more }, { step, timeouts });
}

function ranges(): (string | undefined)[] {
  return mirror.requests.map((r) => r.range);
}

async function expectFile(): Promise<void> {
  expect((await readFile(to)).equals(body)).toBe(true);
}

async function expectNothingLeft(): Promise<void> {
  expect(existsSync(to)).toBe(false);
  expect(existsSync(`${to}.part`)).toBe(false);
}

describe('a server that behaves', () => {
  test('gives the file, verified, with progress up to its size', async () => {
    const step = quietStep();
    const fetched = await fetching([`${mirror.url}/file`], { sha256 }, step);
    expect(fetched).toEqual({ path: to, url: `${mirror.url}/file`, sha256, bytes: body.length });
    await expectFile();
    expect(existsSync(`${to}.part`)).toBe(false);
    expect(step.reports.at(0)).toEqual([0, body.length]);
    expect(step.reports.at(-1)).toEqual([body.length, body.length]);
    expect(mirror.requests[0]?.encoding).toBe('identity');
  });

  test('is not asked again while the file in place has the digest', async () => {
    await fetching([`${mirror.url}/file`]);
    const again = await fetching([`${mirror.url}/file`]);
    expect(again.url).toBe(pathToFileURL(to).href);
    expect(mirror.requests).toHaveLength(1);
  });

  test('replaces a file in place that has another digest', async () => {
    await fetching([`${mirror.url}/file`]);
    await writeFile(to, 'damaged');
    await fetching([`${mirror.url}/file`]);
    await expectFile();
  });

  test('may send a body of unknown length', async () => {
    mirror.behave('/file', { kind: 'chunked' });
    const step = quietStep();
    expect((await fetching([`${mirror.url}/file`], { sha256 }, step)).bytes).toBe(body.length);
    expect(step.reports.at(-1)).toEqual([body.length, undefined]);
  });

  test('may redirect, also relative', async () => {
    mirror.behave('/old', { kind: 'redirect', to: '/file' });
    expect((await fetching([`${mirror.url}/old`])).url).toBe(`${mirror.url}/old`);
  });

  test('is needed once by two who want the same file at once', async () => {
    const both = await Promise.all([fetching([`${mirror.url}/file`]), fetching([`${mirror.url}/file`])]);
    expect(both.map((f) => f.sha256)).toEqual([sha256, sha256]);
    expect(mirror.requests).toHaveLength(1);
  });

  test('verifies sha512 as well', async () => {
    const sha512 = createHash('sha512').update(body).digest('hex').toUpperCase();
    expect((await fetching([`${mirror.url}/file`], { sha512 })).sha256).toBe(sha256);
    await rm(to);
    const wrong = fetching([`${mirror.url}/file`], { sha256, sha512: '0'.repeat(128) });
    await expect(wrong).rejects.toMatchObject({ code: 'fetch/digest-mismatch' });
  });
});

describe('resuming', () => {
  test('continues a truncated body where it ended', async () => {
    mirror.behave('/file', { kind: 'truncate', bytes: 150_000 }, { kind: 'ok' });
    await fetching([`${mirror.url}/file`]);
    await expectFile();
    expect(ranges()).toEqual([undefined, expect.stringMatching(/^bytes=[1-9]\d+-$/)]);
  });

  test('has patience with a server that gives a little each time', async () => {
    mirror.behave('/file', { kind: 'truncate', bytes: 200_000 });
    await fetching([`${mirror.url}/file`]);
    await expectFile();
    expect(mirror.requests.length).toBeGreaterThanOrEqual(5);
  });

  test('starts over when the server ignores the range', async () => {
    mirror.behave('/file', { kind: 'truncate', bytes: 150_000 }, { kind: 'ignore-range' });
    await fetching([`${mirror.url}/file`]);
    await expectFile();
  });

  test('continues what an earlier run left, and at another mirror', async () => {
    mirror.behave('/file', { kind: 'truncate', bytes: 300_000 }, { kind: 'status', code: 404 });
    mirror.serve('/second', body);
    await expect(fetching([`${mirror.url}/file`])).rejects.toMatchObject({ code: 'fetch/failed' });
    await fetching([`${mirror.url}/second`]);
    expect(ranges().at(-1)).toMatch(/^bytes=[1-9]\d+-$/);
    await expectFile();
  });

  test('a wrong digest after continuing foreign bytes starts once from nothing', async () => {
    await fetching([`${mirror.url}/file`]);
    await rm(to);
    await writeFile(`${to}.part`, randomBytes(1000));
    await fetching([`${mirror.url}/file`]);
    await expectFile();
    expect(ranges()).toEqual([undefined, 'bytes=1000-', undefined]);
  });

  test('a complete part is only verified', async () => {
    await fetching([`${mirror.url}/file`]);
    await rm(to);
    await writeFile(`${to}.part`, body);
    await fetching([`${mirror.url}/file`]);
    await expectFile();
  });

  test('a part longer than the file is thrown away', async () => {
    await fetching([`${mirror.url}/file`]);
    await rm(to);
    await writeFile(`${to}.part`, Buffer.concat([body, body]));
    await fetching([`${mirror.url}/file`]);
    await expectFile();
  });

  test('without a digest nothing from an earlier run is believed', async () => {
    await fetching([`${mirror.url}/file`]);
    await rm(to);
    await writeFile(`${to}.part`, randomBytes(1000));
    await fetching([`${mirror.url}/file`], {});
    await expectFile();
    expect(ranges().at(-1)).toBeUndefined();
  });
});

describe('a server that misbehaves', () => {
  test('wrong bytes are named with both digests and never left in place', async () => {
    const lie = randomBytes(400_000);
    mirror.behave('/file', { kind: 'lie', body: lie });
    await expect(fetching([`${mirror.url}/file`])).rejects.toMatchObject({
      code: 'fetch/digest-mismatch',
      message: expect.stringContaining(`${mirror.url}/file`),
      evidence: [`expected sha256 ${sha256}`, `actual   sha256 ${sha(lie)}`],
    });
    expect(mirror.requests).toHaveLength(1);
    await expectNothingLeft();
  });

  test('a lying mirror is passed over and reported', async () => {
    mirror.behave('/lie', { kind: 'lie', body: randomBytes(10) });
    const step = quietStep();
    await fetching([`${mirror.url}/lie`, `${mirror.url}/file`], { sha256 }, step);
    await expectFile();
    expect(step.notes).toEqual([expect.stringContaining(`${mirror.url}/lie`)]);
  });

  test('404 moves on to the next URL without asking twice', async () => {
    const fetched = await fetching([`${mirror.url}/absent`, `${mirror.url}/file`]);
    expect(fetched.url).toBe(`${mirror.url}/file`);
    expect(mirror.requests).toHaveLength(2);
  });

  test('5xx is tried again, three times at most', async () => {
    mirror.behave('/file', { kind: 'status', code: 503 }, { kind: 'status', code: 500 }, { kind: 'ok' });
    await fetching([`${mirror.url}/file`]);
    mirror.behave('/busy', { kind: 'status', code: 503 });
    await expect(
      fetchText(`${mirror.url}/busy`, { signal: quietStep().signal, timeouts }),
    ).rejects.toMatchObject({ code: 'fetch/failed', evidence: [`${mirror.url}/busy: HTTP 503`] });
    expect(mirror.requests).toHaveLength(6);
  });

  test('all failures give one line of evidence for each URL', async () => {
    mirror.behave('/loop', { kind: 'redirect', to: '/loop' });
    mirror.behave('/mute', { kind: 'mute' });
    mirror.behave('/hang', { kind: 'hang', bytes: 10 });
    mirror.behave('/out', { kind: 'redirect', to: 'file:///etc/hostname' });
    const names = ['absent', 'loop', 'mute', 'hang', 'out'];
    const urls = names.map((name) => `${mirror.url}/${name}`);
    mirror.serve('/hang', body);
    await expect(fetching([...urls, 'http://127.0.0.1:1/x', join(dir, 'no')])).rejects.toMatchObject({
      code: 'fetch/failed',
      blame: 'host',
      evidence: [
        `${urls[0]}: HTTP 404`,
        `${urls[1]}: more than 5 redirects`,
        `${urls[2]}: no answer within 0.3 s`,
        expect.stringContaining('bytes within 0.3 s'),
        expect.stringContaining('not http'),
        expect.stringContaining('ECONNREFUSED'),
        expect.stringContaining('no such file'),
      ],
    });
    expect(existsSync(to)).toBe(false);
  });

  test('a body that stalls is continued after its idle time', async () => {
    mirror.behave('/file', { kind: 'hang', bytes: 200_000 }, { kind: 'ok' });
    await fetching([`${mirror.url}/file`]);
    await expectFile();
    expect(ranges()).toEqual([undefined, 'bytes=200000-']);
  });

  test('a file longer than allowed is refused, announced or not', async () => {
    const most = { maxBytes: 1000 };
    await expect(fetching([`${mirror.url}/file`], most)).rejects.toMatchObject({ code: 'fetch/failed' });
    mirror.behave('/file', { kind: 'chunked' });
    await expect(fetching([`${mirror.url}/file`], most)).rejects.toMatchObject({ code: 'fetch/failed' });
    expect(existsSync(to)).toBe(false);
  });
});

describe('local sources', () => {
  test.each(['path', 'file URL'])('a %s is copied and verified like any other', async (form) => {
    const path = join(dir, 'here it is');
    await writeFile(path, body);
    const url = form === 'path' ? path : pathToFileURL(path).href;
    expect(await fetching([url])).toEqual({ path: to, url, sha256, bytes: body.length });
    expect((await fetchBytes(url, { signal: quietStep().signal, timeouts })).equals(body)).toBe(true);
    await writeFile(path, 'other');
    await rm(to);
    await expect(fetching([url])).rejects.toMatchObject({ code: 'fetch/digest-mismatch' });
  });
});

describe('abort and disk', () => {
  test.each(['mute', 'hang'] as const)(
    'an abort ends a %s download at once and keeps its part',
    async (kind) => {
      mirror.behave('/file', kind === 'mute' ? { kind } : { kind, bytes: 100_000 });
      const controller = new AbortController();
      const asked = mirror.asked('/file');
      const patient = { ...timeouts, fetchHeaders: 3_600_000, fetchIdle: 3_600_000 };
      const step = quietStep(controller.signal);
      const pending = fetchFile({ urls: [`${mirror.url}/file`], to, sha256 }, { step, timeouts: patient });
      await asked;
      controller.abort();
      await expect(pending).rejects.toMatchObject({ code: 'interrupted' });
      expect(existsSync(to)).toBe(false);
      mirror.behave('/file', { kind: 'ok' });
      await fetching([`${mirror.url}/file`]);
      await expectFile();
    },
  );

  test('an aborted signal starts nothing', async () => {
    await expect(fetching([`${mirror.url}/file`], {}, quietStep(AbortSignal.abort()))).rejects.toMatchObject({
      code: 'interrupted',
    });
    await expect(
      fetchText(`${mirror.url}/file`, { signal: AbortSignal.abort(), timeouts }),
    ).rejects.toMatchObject({ code: 'interrupted' });
    expect(mirror.requests).toHaveLength(0);
  });

  test('a target that is no folder is the host’s fault', async () => {
    await writeFile(join(dir, 'downloads'), 'a file');
    await expect(fetching([`${mirror.url}/file`])).rejects.toMatchObject({ code: 'fetch/cannot-write' });
  });
});

describe('proxies', () => {
  const names = ['http_proxy', 'no_proxy', 'HTTP_PROXY', 'NO_PROXY'];
  const before = names.map((name) => [name, process.env[name]] as const);

  afterEach(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });

  test('http_proxy is used and no_proxy is respected', async () => {
    await using proxy = await startMirror();
    proxy.serve('/hello', 'from the proxy');
    for (const name of names) delete process.env[name];
    process.env.http_proxy = proxy.url;
    const text = fetchText('http://example.invalid/hello', { signal: quietStep().signal, timeouts });
    expect(await text).toBe('from the proxy');
    process.env.no_proxy = '127.0.0.1';
    await fetching([`${mirror.url}/file`]);
    expect(proxy.requests.map((r) => r.target)).toEqual(['http://example.invalid/hello']);
  });
});
