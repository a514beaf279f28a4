import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const patches = fileURLToPath(new URL('../../patches/my-rng/', import.meta.url));
const noCompiler = spawnSync('cc', ['--version']).status !== 0;

describe.skipIf(noCompiler)('the C code of my-rng (needs cc)', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'my-rng-c-'));
    for (const program of ['my-app', 'my-rng-probe']) {
      compile(join(patches, 'guest', `${program}.c`), join(dir, program), ['-static']);
    }
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  test('the generator of the device gives what rand() of this host gives', () => {
    const source = join(dir, 'generator.c');
    writeFileSync(source, generatorComparison());
    compile(source, join(dir, 'generator'), ['-fsanitize=undefined', '-fno-sanitize-recover']);
    expect(execFileSync(join(dir, 'generator'), { encoding: 'utf8' })).toBe(
      '286129175 1594929109 971802288 222134722 1335014133\n' +
        '1804289383 846930886 1681692777 1714636915 1957747793\n' +
        'equal\n',
    );
  });

  const call = (program: string, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(join(dir, program), args, { encoding: 'utf8', input: '' });
    return { status, stdout, stderr };
  };
  const events = (stdout: string) =>
    stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));

  test('my-app tells wrong usage from a device that is missing or does not seed', () => {
    expect(call('my-app', 'a', 'b')).toMatchObject({ status: 2, stdout: '' });
    expect(call('my-app', '--help').stderr).toContain('usage: my-app [NODE]');
    expect(call('my-app', '/nonexistent')).toEqual({
      status: 1,
      stdout: '',
      stderr: 'my-app: /nonexistent: cannot open: No such file or directory\n',
    });
    expect(call('my-app', '/dev/null')).toMatchObject({
      status: 1,
      stderr: 'my-app: /dev/null: cannot seed the generator: Inappropriate ioctl for device\n',
    });
  });

  test.each([
    [[]],
    [['unknown']],
    [['read']],
    [['read', '0']],
    [['read', '-1']],
    [['read', '5', '5']],
    [['sequence', '4294967296', '1']],
    [['-s', 'x', 'read', '1']],
    [['concurrent', '257', '1']],
  ])('the probe refuses the words %j', (words: string[]) => {
    expect(call('my-rng-probe', ...words)).toMatchObject({ status: 2, stdout: '' });
  });

  test('the probe says that a node does not open', () => {
    const { status, stdout } = call('my-rng-probe', '-d', '/nonexistent', 'read', '1');
    expect(status).toBe(1);
    expect(events(stdout)).toEqual([
      { event: 'start', subcommand: 'read' },
      { event: 'blocked', what: 'open', error: 'ENOENT' },
      { event: 'end', status: 1 },
    ]);
  });

  test('the probe observes a node without the commands', () => {
    const { status, stdout } = call('my-rng-probe', '-w', '-d', '/dev/null', 'sequence', '0xffffffff', '3');
    expect(status).toBe(0);
    expect(events(stdout)).toEqual([
      { event: 'start', subcommand: 'sequence' },
      { event: 'opened' },
      { event: 'seed', seed: 4294967295, error: 'ENOTTY' },
      { event: 'numbers', error: 'ENOTTY', numbers: [] },
      { event: 'end', status: 0 },
    ]);
  });

  test('the probe announces each bad address before it tries it, and no two cases share one', () => {
    const seen = events(call('my-rng-probe', '-d', '/dev/null', 'bad-pointers').stdout);
    const trying = seen.filter((e) => e.event === 'trying');
    const tried = seen.filter((e) => e.event === 'tried');
    expect(tried.map(({ error, ...rest }) => ({ ...rest, event: 'trying' }))).toEqual(trying);
    expect(new Set(tried.map((e) => e.error))).toEqual(new Set(['ENOTTY']));
    const gets = tried.filter((e) => e.command === 'get');
    expect(gets.map((e) => e.case)).toContain('read-only');
    expect(new Set(gets.map((e) => e.address)).size).toBe(gets.length);
  });

  test('the probe sees all its processes end', () => {
    const seen = events(call('my-rng-probe', '-d', '/dev/null', 'concurrent', '16', '4').stdout);
    const processes = seen.filter((e) => e.event === 'process');
    expect(processes).toEqual(
      Array.from({ length: 16 }, (_, index) => ({
        event: 'process',
        index,
        exited: true,
        signal: 0,
        error: 'ENOTTY',
        numbers: [],
      })),
    );
  });
});

function compile(source: string, to: string, options: string[]): void {
  const strict = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror'];
  execFileSync('cc', [...strict, ...options, source, '-o', to], { stdio: 'pipe' });
}

/** A program that compares the device's generator, cut out of its source, with the C library's. */
function generatorComparison(): string {
  const device = readFileSync(join(patches, 'device/my-rng.c'), 'utf8');
  const generator = /^#define LIBC_WORDS[\s\S]*?^(?=\/\*\*\n \* MyRngAlgorithm:)/m.exec(device)?.[0];
  return `
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
${generator}
static void print_five(uint32_t seed)
{
    MyRngGenerator g;
    libc_seed(&g, seed);
    for (int i = 0; i < 5; i++) {
        printf("%u%c", libc_next(&g), i < 4 ? ' ' : '\\n');
    }
}

static void compare(uint32_t seed)
{
    MyRngGenerator g;
    memset(&g, 0xa5, sizeof(g));
    libc_seed(&g, seed);
    srand(seed);
    for (int i = 0; i < 1000; i++) {
        if (libc_next(&g) != (uint32_t)rand()) {
            printf("seed %u: number %d differs\\n", seed, i);
            exit(1);
        }
    }
}

int main(void)
{
    const uint32_t edges[] = { 0, 1, 2, 0x42, 0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff };
    print_five(0x42);
    print_five(0);
    for (unsigned i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
        compare(edges[i]);
    }
    for (uint32_t i = 0; i < 2000; i++) {
        compare(i * 0x9e3779b9u);
    }
    puts("equal");
    return 0;
}
`;
}
