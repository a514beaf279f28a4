import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Console, type WaitForOptions } from '../../src/console/console.js';
import { fatalKinds } from '../../src/console/kernel-trouble.js';
import { cleanLine, SerialLines } from '../../src/console/lines.js';
import { LabError } from '../../src/errors.js';

const folder = join(import.meta.dirname, '../fixtures/consoles');
const long: WaitForOptions = { name: 'the prompt', timeout: 60_000, fatal: fatalKinds };

async function failure(promise: Promise<unknown>): Promise<LabError> {
  const error = await promise.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(LabError);
  return error as LabError;
}

describe('waitFor', () => {
  it('finds what came before the call, and from a cursor only what came after it', async () => {
    const console = new Console();
    console.push('one ready\ntwo\n');
    expect(await console.waitFor(/re(a)dy/, long)).toMatchObject({
      index: 0,
      line: 'one ready',
      match: { 1: 'a' },
    });
    const from = console.cursor;
    expect(from).toBe(2);
    const later = console.waitFor('ready', { ...long, from });
    console.push('three ready\n');
    expect((await later).index).toBe(2);
  });

  it('treats a string as text and forgets the place of a global expression', async () => {
    const console = new Console();
    console.push('axb\na.b\nab ab\n');
    expect((await console.waitFor('a.b', long)).index).toBe(1);
    const global = /ab/g;
    for (const _ of [1, 2]) expect((await console.waitFor(global, long)).index).toBe(2);
  });

  it('sees a prompt that has no newline only when asked to', async () => {
    const console = new Console();
    const prompt = console.waitFor('login:', { ...long, unfinished: true });
    const line = console.waitFor('login:', long);
    console.push('alpine ');
    console.push('login: ');
    expect((await prompt).line).toBe('alpine login: ');
    console.push('root\n');
    expect((await line).line).toBe('alpine login: root');
  });

  it('matches without escape sequences and firmware, and keeps both in the lines', async () => {
    const console = new Console();
    const raw = '\u001bc\u001b[?7l\u001b[2J\u001b[0mSeaBIOS (version 1.16.2-debian-1.16.2-1)\r\n';
    console.push(`${raw}\u001b[32;1m * \u001b]0;title\u0007Starting sshd\u001b[m\r\n`);
    const found = await console.waitFor(/^ \* Starting sshd$/, long);
    expect(found.index).toBe(1);
    expect(console.lines()[0]).toContain('\u001b[2J');
    const error = await failure(console.waitFor('SeaBIOS', { ...long, timeout: 1 }));
    expect(error.code).toBe('console/timeout');
  });

  it('ends at once with the trouble, its lines, the log and the blame it was given', async () => {
    const console = new Console({ log: 'console.log', blame: 'submission' });
    const waiting = failure(console.waitFor('login:', long));
    console.push('[    1.000000] BUG: kernel NULL pointer dereference, address: 0000000000000000\n');
    const error = await waiting;
    expect(error).toMatchObject({ code: 'console/oops', blame: 'submission', log: 'console.log' });
    expect(error.message).toContain('the prompt');
    expect(error.evidence).toHaveLength(1);
  });

  it('waits for the rest of the report when asked to, and no longer than that', async () => {
    const bytes = readFileSync(join(folder, 'oops-null-6.6.log'));
    const console = new Console();
    const settled = failure(console.waitFor('login:', { ...long, settle: 60_000 }));
    for (let at = 0; at < bytes.length; at += 100) console.push(bytes.subarray(at, at + 100));
    const error = await settled;
    expect(error.evidence.some((line) => line.includes('RIP: 0010:my_rng_ioctl'))).toBe(true);
    expect(error.evidence.some((line) => line.includes('</TASK>'))).toBe(true);
    const cut = new Console();
    cut.push('[    1.000000] Kernel panic - not syncing: hung_task: blocked tasks\n');
    expect((await failure(cut.waitFor('login:', { ...long, settle: 5 }))).code).toBe('console/panic');
  });

  it('lets the earlier of match and trouble decide, even when both are there already', async () => {
    const console = new Console();
    console.push('BEGIN\n[    1.000000] Kernel panic - not syncing: no reason\nEND\n');
    expect((await console.waitFor('BEGIN', long)).index).toBe(0);
    expect((await failure(console.waitFor('END', long))).code).toBe('console/panic');
    expect((await console.waitFor('END', { ...long, fatal: [] })).index).toBe(2);
    expect((await console.waitFor('END', { ...long, from: 2 })).index).toBe(2);
  });

  it('ignores trouble that it was not told to fear', async () => {
    const console = new Console();
    const waiting = console.waitFor('done', { ...long, fatal: ['panic'] });
    console.push('WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2\ndone\n');
    expect((await waiting).index).toBe(1);
    expect(console.reports().map(({ kind }) => kind)).toEqual(['warning']);
    expect(console.reports(1)).toEqual([]);
  });

  it('ends with the stream; the last line counts without its newline', async () => {
    const console = new Console();
    const match = console.waitFor('halted', long);
    const none = failure(console.waitFor('login:', long));
    console.push('reboot: System halted');
    console.end(new Error('gone'));
    expect((await match).index).toBe(0);
    expect(await none).toMatchObject({ code: 'console/closed', evidence: ['reboot: System halted'] });
    expect((await failure(console.waitFor('x', long))).code).toBe('console/closed');
    expect((await console.waitFor('halted', long)).index).toBe(0);
  });

  it('tells a deadline from silence, with the last lines and the unfinished one', async () => {
    const console = new Console();
    console.push('Run /sbin/init\nwaiting for');
    const late = await failure(console.waitFor('login:', { ...long, timeout: 10 }));
    expect(late).toMatchObject({ code: 'console/timeout', evidence: ['Run /sbin/init', 'waiting for'] });
    const silent = await failure(console.waitFor('login:', { ...long, silence: 10 }));
    expect(silent.code).toBe('console/silent');
  });

  it('ends by its signal', async () => {
    const console = new Console();
    const abort = new AbortController();
    const waiting = failure(console.waitFor('x', { ...long, signal: abort.signal }));
    abort.abort();
    expect((await waiting).code).toBe('interrupted');
    expect((await failure(console.waitFor('x', { ...long, signal: abort.signal }))).code).toBe('interrupted');
  });
});

describe('attach', () => {
  it('reads a stream', async () => {
    const stream = new PassThrough();
    const console = Console.attach(stream);
    stream.write('hel');
    stream.end('lo\n');
    expect((await console.waitFor('hello', long)).index).toBe(0);
    expect((await failure(console.waitFor('more', long))).code).toBe('console/closed');
  });

  it('reads an iterable, and its failure is the cause of the end', async () => {
    async function* chunks() {
      yield Buffer.from('hello\n');
      throw new Error('read error');
    }
    const error = await failure(Console.attach(chunks()).waitFor('more', long));
    expect(error).toMatchObject({ code: 'console/closed', cause: { message: 'read error' } });
  });

  it('ends at once on a stream that is over', async () => {
    const stream = new PassThrough();
    stream.destroy();
    expect((await failure(Console.attach(stream).waitFor('x', long))).code).toBe('console/closed');
  });
});

describe('however the stream is cut', () => {
  const recorded = [
    'two-cpus-interleaved.log',
    'panic-no-init-reboot.log',
    'oops-after-prompt-truncated.log',
  ];
  const anyBytes = fc.oneof(
    fc.constantFrom(...recorded).map((name) => new Uint8Array(readFileSync(join(folder, name)))),
    fc.uint8Array({ maxLength: 400 }),
    fc
      .array(fc.constantFrom(...Buffer.from('\r\n\u001b[mc]é€😀 B\u0000').values()), { maxLength: 200 })
      .map((bytes) => Uint8Array.from(bytes)),
  );

  function observe(chunks: readonly Uint8Array[]): unknown {
    const console = new Console();
    for (const chunk of chunks) console.push(chunk);
    console.end();
    return { lines: console.lines(), reports: console.reports(), cursor: console.cursor };
  }

  it('lines and reports are the same', () => {
    const property = fc.property(anyBytes, fc.array(fc.nat(), { maxLength: 30 }), (bytes, cuts) => {
      const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
      const pieces = [0, ...at].map((from, i) => bytes.subarray(from, at[i] ?? bytes.length));
      expect(observe(pieces)).toEqual(observe([bytes]));
    });
    fc.assert(property, { numRuns: 200 });
  });

  it('byte by byte too', () => {
    for (const name of recorded) {
      const bytes = readFileSync(join(folder, name));
      expect(observe([...bytes].map((byte) => Uint8Array.of(byte)))).toEqual(observe([bytes]));
    }
  });
});

describe('memory', () => {
  it('keeps the last lines only, counts all, and cuts a line without end', () => {
    const console = new Console();
    for (let i = 0; i < 20_000; i += 1) console.push(`line ${i}\n`);
    expect(console.cursor).toBe(20_000);
    const kept = console.lines();
    expect(kept.length).toBeLessThanOrEqual(8000);
    expect(kept.at(-1)).toBe('line 19999');
    expect(console.lines(19_998)).toEqual(['line 19998', 'line 19999']);
    for (let i = 0; i < 100; i += 1) console.push('x'.repeat(1000));
    console.push('\n');
    expect(console.lines(20_000)[0]?.length).toBe(8192);
  });
});

describe('SerialLines and cleanLine', () => {
  it.each([
    ['a\nb\n', ['a', 'b']],
    ['a\r\nb\r\r\nc\rd', ['a', 'b', 'c', 'd']],
    ['a\n\nb\r\n\r\nc', ['a', '', 'b', '', 'c']],
    ['', []],
  ])('%j', (text, lines) => {
    const seen: string[] = [];
    const splitter = new SerialLines((line) => seen.push(line));
    splitter.push(Buffer.from(text));
    splitter.end();
    expect(seen).toEqual(lines);
  });

  it.each([
    ['plain text', 'plain text'],
    [
      'Booting from ROM..\u001bc\u001b[?7l\u001b[2J[    0.000000] Linux version 6',
      '[    0.000000] Linux version 6',
    ],
    ['\u001b(B\u001b[38;5;12mblue\u001b[0m \u0000\u0007end', 'blue end'],
    ['iPXE (https://ipxe.org) 00:03.0', ''],
    ['größe \u001b[1m5', 'größe 5'],
  ])('%j is read as %j', (raw, clean) => {
    expect(cleanLine(raw)).toBe(clean);
  });
});
