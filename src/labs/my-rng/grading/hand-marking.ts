import type { HandedInText } from '../../../grade/crashes.js';
import type { Submission } from '../../../intake/submission.js';
import type { BareLaneResult } from './bare.js';
import type { LaneResult } from './lane.js';

/** For whoever marks the report. */
export function reportEvidence({ report }: Submission): string[] {
  return [report === undefined ? 'no report was found in the hand-in' : `the report is ${report}`];
}

const FEATURES: readonly (readonly [RegExp, string])[] = [
  [/\bpci_(?:register_driver|dev_get|get_device)\b|module_pci_driver/, 'finds the device by PCI enumeration'],
  [/\bmodule_param/, 'has module parameters'],
  [/\bclass_create\b|device_create\b|misc_register\b/, 'makes its own device node'],
  [/\bpci_dma_(?:read|write)\b|\bdma_(?:alloc|map)_/, 'transfers by DMA'],
  [/\bmsi_(?:init|notify)\b|pci_alloc_irq_vectors|request_(?:threaded_)?irq/, 'uses interrupts'],
  [/\breadq\b|\bioread64\b|\bwriteq\b/, 'has accesses of 64 bits'],
  [/\bhwrng_register\b/, 'registers as a hardware random number generator'],
  [/DEFINE_PROP_/, 'has properties of the device'],
  [/VMSTATE_/, 'describes its state for migration'],
  [/struct file_operations[^}]*\.read\s*=/, 'has a read function for user space'],
];

/** For whoever marks the enhancement: what the code and the run show beyond the guided part. */
export function collectEnhancements({
  submission,
  texts,
  lanes,
  bare,
}: {
  readonly submission: Submission;
  readonly texts: HandedInText;
  readonly lanes: readonly LaneResult[];
  readonly bare: BareLaneResult | undefined;
}): string[] {
  const sources = [...texts].filter(([path]) => /\.[ch]$/.test(path) && path !== 'init/main.c');
  const features = sources.flatMap(([path, text]) =>
    FEATURES.filter(([pattern]) => pattern.test(text)).map(([, what]) => `${path} ${what}`),
  );
  const commands = sources.flatMap(([path, text]) =>
    [...text.matchAll(/^\s*#\s*define\s+(\w+)\s+(_IO\w*\s*\(.*)$/gm)].map(
      ([, name, what]) => `${path} defines ${name} ${what?.trim()}`,
    ),
  );
  const extra = [...new Set(lanes.flatMap(({ findings }) => findings.extraCommands))];
  return [
    ...(submission.module === undefined
      ? []
      : [`an out-of-tree module was handed in: ${submission.module.files.join(', ')}`]),
    ...features,
    ...(commands.length > 2 ? commands : []),
    ...(bare?.enhancementEvidence ?? []),
    ...extra.map((command) => `the driver accepts a further command: ${command}`),
  ];
}
