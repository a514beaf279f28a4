import { type Edit, onRead, onSeed } from './device-variants.js';

/** A mistake put into the reference device, and what a fuzz under sanitizers has to say of it. */
export interface PlantedBug {
  readonly edits: readonly Edit[];
  /** `-device` properties without which it does not show. */
  readonly properties: string;
  readonly fact: RegExp;
  /** It takes another thread of QEMU's to be as far, so the same operations do not always show it. */
  readonly raced?: true;
}

/** Mistakes in my-rng.c, each in a device of its own. */
export const plantedBugs: Readonly<Record<string, PlantedBug>> = {
  index_unchecked: {
    edits: [
      onRead(
        'static const uint32_t table[8] = { 1 };\n    if (addr >= 0x40 && addr < 0x100 && size == 4) {\n' +
          '        return table[(addr - 0x40) / 4];\n    }',
      ),
    ],
    properties: '',
    fact: /index \d+ out of bounds for type 'uint32_t \[8\]' in my_rng_read/,
  },
  freed_on_reset: {
    edits: [
      ['    my_rng_ring_reset(&s->ring);\n    s->irq_status', '    g_free(s->keyed.key);\n    s->irq_status'],
    ],
    properties: ',key=00112233445566778899aabbccddeeff',
    fact: /AddressSanitizer: (heap-use-after-free|attempting double-free)/,
  },
  shift: {
    edits: [
      [
        'my_rng_set_irq(s, s->irq_status, value & IRQ_ALL);',
        'my_rng_set_irq(s, s->irq_status, (1 << (uint32_t)value) & IRQ_ALL);',
      ],
    ],
    properties: ',extended=on',
    fact: /UndefinedBehaviorSanitizer: shift exponent .* in extended_write/,
  },
  works_on_after_unplug: {
    edits: [['    qemu_del_vm_change_state_handler(s->vm_state);\n', '']],
    properties: ',extended=on',
    fact: /AddressSanitizer: heap-use-after-free/,
    raced: true,
  },
  asserts: {
    edits: [onRead('g_assert(size != 2);')],
    properties: '',
    fact: /QEMU was killed by SIGABRT/,
  },
  loops: {
    edits: [
      onSeed('while (value == 7) {\n            barrier();\n        }\n        my_rng_seed(s, value);'),
    ],
    properties: '',
    fact: /QEMU hangs/,
  },
};

/** A length that is not cut to what fits, in the source that all devices share. */
export const longPiece: Edit = [
  'uint32_t bytes = MIN(r->length - r->done, sizeof(numbers));',
  'uint32_t bytes = r->length - r->done;',
];
