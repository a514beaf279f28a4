import { excerptOf, type HandedInText } from '../../../grade/crashes.js';
import type { CodeExcerpt, DecodedCrash } from '../../../grade/grade-report.js';
import type { JudgedLine } from '../../../grade/grading.js';
import type { Submission } from '../../../intake/submission.js';
import type { BareLaneResult } from './bare.js';
import type { LaneResult } from './lane.js';

const MOST_EXCERPTS = 4;

/** The lines of the hand-in that a line which did not pass is about: from a crash, or from the compiler. */
export function codeOf(
  { checks }: Pick<JudgedLine, 'checks'>,
  texts: HandedInText,
  crashes: readonly DecodedCrash[],
): CodeExcerpt[] {
  const bad = checks.filter(({ outcome }) => outcome !== 'passed' && outcome !== 'skipped');
  if (bad.length === 0) return [];
  const crashed = bad.some(({ outcome }) => outcome === 'crashed' || outcome === 'failed');
  const fromCrash = crashed
    ? crashes.filter(({ on }) => bad.some((check) => check.on === on)).flatMap(({ frames }) => frames)
    : [];
  const fromCompiler = bad.flatMap(({ evidence }) => evidence.flatMap((line) => placeIn(line, texts)));
  const found = [...fromCrash.flatMap(({ code }) => (code === undefined ? [] : [code])), ...fromCompiler];
  const unique = new Map(found.map((code) => [`${code.path}:${code.marked.join()}`, code]));
  return [...unique.values()].slice(0, MOST_EXCERPTS);
}

/** `path:line` at the beginning of a compiler's line. */
function placeIn(line: string, texts: HandedInText): CodeExcerpt[] {
  const [, path, number] = /^([\w./+-]+\.[ch]):(\d+)/.exec(line) ?? [];
  const code = path === undefined ? undefined : excerptOf(texts, path, [Number(number)]);
  return code === undefined ? [] : [code];
}

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
