/** Changes to the reference device, each a pair of what stands there and what stands there instead. */
export type Edit = readonly [from: string, to: string];

export interface DeviceVariant {
  readonly edits: readonly Edit[];
  /** Checks of the bare lane that must not pass, each with how they end; empty for a good device. */
  readonly fails: Readonly<Record<string, 'failed' | 'crashed' | 'timed-out'>>;
}

const NEXT = '        return my_rng_next(s);';
const IS_RNG = 'if (addr == MY_RNG_REG_RNG && size == 4) {';
const IS_SEED = 'if (addr == MY_RNG_REG_SEED && size == 4) {';
const DO_SEED = '        my_rng_seed(s, value);';
const READ_BODY = `{\n    ${IS_RNG}`;
const REALIZE = '    memory_region_init_io(';

/** Code put before the read function looks at anything. */
export const onRead = (code: string): Edit => [READ_BODY, `{\n    ${code}\n    ${IS_RNG}`];
export const onSeed = (code: string): Edit => [DO_SEED, `        ${code}`];
const onNext = (code: string): Edit => [NEXT, `        ${code}`];

/** Another generator in the place of the default one, with 64 bits of state in the first two `words`. */
const generator = (seed: string, next: string): Edit[] => [
  ['    s->algorithm->seed(&s->generator, seed);', `    uint32_t *words = s->generator.libc_words;\n${seed}`],
  [
    '    return s->keyed.key ? keyed_next(&s->keyed)\n                        : s->algorithm->next(&s->generator);',
    `    uint32_t *words = s->generator.libc_words;\n${next}`,
  ],
];

/** Devices that a student might hand in, good ones and ones with one fault each. */
export const deviceVariants: Readonly<Record<string, DeviceVariant>> = {
  xorshift: {
    edits: generator(
      '    words[0] = seed ? seed : 2463534242;',
      '    uint32_t x = words[0];\n    x ^= x << 13;\n    x ^= x >> 17;\n    x ^= x << 5;\n    return words[0] = x;',
    ),
    fails: {},
  },
  pcg: {
    edits: generator(
      '    uint64_t state = (seed + 1442695040888963407ULL) * 6364136223846793005ULL + 1442695040888963407ULL;\n' +
        '    memcpy(words, &state, sizeof(state));',
      '    uint64_t state;\n    uint32_t x;\n    int r;\n    memcpy(&state, words, sizeof(state));\n' +
        '    x = ((state >> 18) ^ state) >> 27;\n    r = state >> 59;\n' +
        '    state = state * 6364136223846793005ULL + 1442695040888963407ULL;\n    memcpy(words, &state, sizeof(state));\n' +
        '    return (x >> r) | (x << (-r & 31));',
    ),
    fails: {},
  },
  wide_register: {
    edits: [onRead('if (addr == 8 || addr == 12) {\n        return my_rng_next(s);\n    }')],
    fails: {},
  },
  algorithm_register: {
    edits: [
      ['    uint64_t device_ns;\n};', '    uint64_t device_ns;\n    uint32_t mode;\n};'],
      onRead('if (addr == 16) {\n        return s->mode;\n    }'),
      [
        '    if (addr == MY_RNG_REG_SEED',
        '    if (addr == 16) {\n        s->mode = value;\n        return;\n    }\n    if (addr == MY_RNG_REG_SEED',
      ],
      onNext('return my_rng_next(s) ^ (s->mode * 0x9e3779b9);'),
    ],
    fails: {},
  },
  reads_back_seed: { edits: [onRead('if (addr == 4) {\n        return s->keyed.seed;\n    }')], fails: {} },
  single: {
    edits: [
      [
        REALIZE,
        '    static int count;\n    if (++count > 1) {\n        error_setg(errp, "only one");\n        return;\n    }\n' +
          '    memory_region_init_io(',
      ],
    ],
    fails: {},
  },
  stays_plugged: {
    edits: [['    dc->vmsd = ', '    dc->hotpluggable = false;\n    dc->vmsd = ']],
    fails: {},
  },
  libc_shared: {
    edits: [
      onNext('return rand();'),
      onSeed('srand(value);'),
      [
        '.min_access_size = 1,\n        .max_access_size = 8,\n        .unaligned = true,\n    },\n    .impl',
        '.min_access_size = 4,\n        .max_access_size = 4,\n    },\n    .impl',
      ],
    ],
    fails: {},
  },
  reads_ones: {
    edits: [
      [
        '                  "\\n", size, addr);\n    return 0;',
        '                  "\\n", size, addr);\n    return ~0ULL;',
      ],
    ],
    fails: {},
  },
  constant: { edits: [onNext('return 4;')], fails: { 'numbers-vary': 'failed', 'seeds-differ': 'failed' } },
  zero: { edits: [onNext('return 0;')], fails: { 'numbers-vary': 'failed', 'seeds-differ': 'failed' } },
  ignores_seed: { edits: [onSeed('return;')], fails: { 'seed-repeats': 'failed' } },
  always_same_seed: { edits: [onSeed('my_rng_seed(s, 7);')], fails: { 'seeds-differ': 'failed' } },
  clock_seed: {
    edits: [onSeed('my_rng_seed(s, value + g_get_monotonic_time());')],
    fails: { 'seed-repeats': 'failed' },
  },
  virtual_clock_seed: {
    edits: [
      onSeed('my_rng_seed(s, value + qemu_clock_get_ms(QEMU_CLOCK_VIRTUAL));'),
      ['#include "qemu/log.h"', '#include "qemu/log.h"\n#include "qemu/timer.h"'],
    ],
    fails: { 'seed-repeats-in-another-qemu': 'failed' },
  },
  address_seed: {
    edits: [onSeed('my_rng_seed(s, value ^ (uint32_t)((uintptr_t)s >> 12));')],
    fails: { 'seed-repeats-in-another-qemu': 'failed' },
  },
  seed_8_bits: { edits: [onSeed('my_rng_seed(s, value & 0xff);')], fails: { 'seeds-differ': 'failed' } },
  seed_16_bits: { edits: [onSeed('my_rng_seed(s, value & 0xffff);')], fails: { 'seeds-differ': 'failed' } },
  seed_31_bits: {
    edits: [onSeed('my_rng_seed(s, value & 0x7fffffff);')],
    fails: { 'seeds-differ': 'failed' },
  },
  read_anywhere: {
    edits: [[IS_RNG, 'if (size == 4) {']],
    fails: { 'seed-write-only': 'failed', 'address-is-looked-at': 'failed' },
  },
  read_above_seed: {
    edits: [[IS_RNG, 'if (addr != MY_RNG_REG_SEED && size == 4) {']],
    fails: { 'address-is-looked-at': 'failed' },
  },
  write_anywhere: {
    edits: [[IS_SEED, 'if (size == 4) {']],
    fails: { 'rng-read-only': 'failed', 'address-is-looked-at': 'failed' },
  },
  seed_readable: {
    edits: [[IS_RNG, 'if (addr <= MY_RNG_REG_SEED && size == 4) {']],
    fails: { 'seed-write-only': 'failed' },
  },
  seed_read_consumes: {
    edits: [onRead('if (addr == MY_RNG_REG_SEED) {\n        my_rng_next(s);\n    }')],
    fails: { 'seed-write-only': 'failed' },
  },
  rng_write_seeds: {
    edits: [[IS_SEED, 'if (addr <= MY_RNG_REG_SEED && size == 4) {']],
    fails: { 'rng-read-only': 'failed' },
  },
  numbers_16_bits: {
    edits: [onNext('return my_rng_next(s) & 0xffff;')],
    fails: { 'number-width': 'failed' },
  },
  numbers_below_100: { edits: [onNext('return my_rng_next(s) % 100;')], fails: { 'number-width': 'failed' } },
  wrong_class: {
    edits: [['k->class_id = PCI_CLASS_OTHERS', 'k->class_id = PCI_CLASS_SYSTEM_OTHER']],
    fails: { 'pci-identity': 'failed' },
  },
  wrong_id: {
    edits: [['#define MY_RNG_DEVICE_ID    0xcafe', '#define MY_RNG_DEVICE_ID    0xcaff']],
    fails: { 'pci-identity': 'failed' },
  },
  bar_256: {
    edits: [['MY_RNG_BAR_SIZE     4096', 'MY_RNG_BAR_SIZE     256']],
    fails: { 'pci-bar': 'failed' },
  },
  bar_64_bits: {
    edits: [
      ['PCI_BASE_ADDRESS_SPACE_MEMORY,', 'PCI_BASE_ADDRESS_SPACE_MEMORY | PCI_BASE_ADDRESS_MEM_TYPE_64,'],
    ],
    fails: { 'pci-bar': 'failed' },
  },
  null_on_byte: {
    edits: [onRead('if (size == 1) {\n        return *(volatile uint8_t *)0;\n    }')],
    fails: { 'access-sizes': 'crashed' },
  },
  abort_on_byte: { edits: [onRead('g_assert(size != 1);')], fails: { 'access-sizes': 'crashed' } },
  loop_at_8: {
    edits: [onRead('while (addr == 8) {\n        barrier();\n    }')],
    fails: { 'address-is-looked-at': 'timed-out', 'access-sizes': 'timed-out' },
  },
  exit_on_seed_read: {
    edits: [onRead('if (addr == 4 && size == 4) {\n        exit(0);\n    }')],
    fails: { 'seed-write-only': 'crashed', 'access-sizes': 'crashed' },
  },
  sizes_stop_seeding: {
    edits: [
      ['    uint64_t device_ns;\n};', '    uint64_t device_ns;\n    bool stuck;\n};'],
      ['    if (addr == MY_RNG_REG_SEED', '    s->stuck |= size == 1;\n    if (addr == MY_RNG_REG_SEED'],
      onSeed('if (!s->stuck) {\n            my_rng_seed(s, value);\n        }'),
    ],
    fails: { 'access-sizes': 'failed' },
  },
  dead_after_reset: {
    edits: [
      ['    uint64_t device_ns;\n};', '    uint64_t device_ns;\n    bool used;\n    bool dead;\n};'],
      onSeed('s->used = true;\n        my_rng_seed(s, value);'),
      [
        '    my_rng_restart(s);\n    my_rng_reset_registers',
        '    s->dead = s->used;\n    my_rng_restart(s);\n    my_rng_reset_registers',
      ],
      onNext('return s->dead ? 0 : my_rng_next(s);'),
    ],
    fails: { 'machine-reset': 'failed' },
  },
  one_crashes_two: {
    edits: [
      [
        REALIZE,
        '    static int count;\n    if (++count > 1) {\n        abort();\n    }\n    memory_region_init_io(',
      ],
    ],
    fails: { 'two-instances': 'crashed' },
  },
  crash_on_unplug: {
    edits: [
      [
        'static void my_rng_finalize(Object *obj)\n{',
        'static void my_rng_finalize(Object *obj)\n{\n    if (MY_RNG(obj)->mmio.size) {\n        abort();\n    }',
      ],
    ],
    fails: { unplug: 'crashed' },
  },
};

/** Devices whose sequences change with the clock: which check sees it depends on when it changes. */
export const timedVariants: Readonly<Record<string, readonly Edit[]>> = {
  time_seed: [onSeed('my_rng_seed(s, value ^ time(NULL));')],
  time_seed_often: [onSeed('my_rng_seed(s, value ^ (g_get_real_time() / 20000));')],
};

/** Devices that end QEMU before or in whatever is done to them, so that both lines are about them. */
export const deadlyVariants: Readonly<Record<string, readonly Edit[]>> = {
  realize_loop: [[REALIZE, '    while (true) {\n        barrier();\n    }\n    memory_region_init_io(']],
  realize_abort: [[REALIZE, '    abort();\n    memory_region_init_io(']],
  realize_error: [[REALIZE, '    error_setg(errp, "out of luck");\n    return;\n    memory_region_init_io(']],
  read_exit: [onRead('exit(0);')],
};

/** The source of a variant, made from that of the reference device. */
export function variantSource(reference: string, edits: readonly Edit[]): string {
  return edits.reduce((text, [from, to]) => {
    if (text.split(from).length !== 2)
      throw new Error(`the reference device does not have exactly one: ${from}`);
    return text.replace(from, () => to);
  }, reference);
}
