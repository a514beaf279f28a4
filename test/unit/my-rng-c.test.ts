import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { publishedVectors } from '../support/generator-vectors.js';

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

  describe('the generators of the device', () => {
    /** The first `count` numbers after `seed`. */
    const numbers = (algorithm: string, seed: number, count: number) =>
      execFileSync(join(dir, 'generators'), [algorithm, String(seed), String(count)], { encoding: 'utf8' })
        .trim()
        .split('\n')
        .map(Number);

    beforeAll(() => {
      mkdirSync(join(dir, 'qemu'));
      writeFileSync(join(dir, 'qemu/osdep.h'), OSDEP);
      writeFileSync(join(dir, 'generators.c'), PRINT_NUMBERS);
      compile(join(dir, 'generators.c'), join(dir, 'generators'), [
        ...['-fsanitize=undefined', '-fno-sanitize-recover', '-Wno-unused-parameter'],
        ...['-I', dir, '-I', join(patches, 'device'), join(patches, 'device/my-rng-generators.c')],
      ]);
    });

    test('libc is what rand() of this host gives', () => {
      expect(execFileSync(join(dir, 'generators'), ['compare'], { encoding: 'utf8' })).toBe('equal\n');
    });

    test.each(publishedVectors)(
      '$algorithm gives what $source',
      ({ algorithm, seed, skip, numbers: wanted }) => {
        expect(numbers(algorithm, seed, skip + wanted.length).slice(skip)).toEqual(wanted);
      },
    );

    test.each(['libc', 'xorshift64star', 'pcg32', 'mt19937'])('%s starts from any seed', (algorithm) => {
      for (const seed of [0, 1, 0x80000000, 0xffffffff]) {
        expect(new Set(numbers(algorithm, seed, 1000)).size).toBeGreaterThan(990);
      }
    });
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

/** What the generators need of QEMU's header. */
const OSDEP = `
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
`;

/** Prints numbers of an algorithm, or compares `libc` with the C library's. */
const PRINT_NUMBERS = `
#include "qemu/osdep.h"
#include "my-rng-generators.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void compare(const MyRngAlgorithm *libc, uint32_t seed)
{
    MyRngGenerator g;
    memset(&g, 0xa5, sizeof(g));
    libc->seed(&g, seed);
    srand(seed);
    for (int i = 0; i < 1000; i++) {
        if (libc->next(&g) != (uint32_t)rand()) {
            printf("seed %u: number %d differs\\n", seed, i);
            exit(1);
        }
    }
}

static void compare_seeds(const MyRngAlgorithm *libc)
{
    const uint32_t edges[] = { 0, 1, 2, 0x42, 0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff };
    for (unsigned i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
        compare(libc, edges[i]);
    }
    for (uint32_t i = 0; i < 2000; i++) {
        compare(libc, i * 0x9e3779b9u);
    }
    puts("equal");
}

int main(int argc, char **argv)
{
    MyRngGenerator g;
    if (argc == 2) {
        compare_seeds(&my_rng_algorithms[0]);
        return 0;
    }
    for (const MyRngAlgorithm *a = my_rng_algorithms; a->name; a++) {
        if (strcmp(a->name, argv[1])) {
            continue;
        }
        memset(&g, 0xa5, sizeof(g));
        a->seed(&g, strtoul(argv[2], NULL, 0));
        for (long i = atol(argv[3]); i > 0; i--) {
            if (!a->is_sound(&g)) {
                return 1;
            }
            printf("%u\\n", a->next(&g));
        }
    }
    return 0;
}
`;
