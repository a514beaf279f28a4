import { LabError } from '../errors.js';
import type { QemuExit } from './machine.js';
import type { DeviceOwner, QemuInstallation } from './spec.js';

/**
 * What the environment of a QEMU has to hold: of one that was compiled with sanitizers, that what they find ends it.
 * Leaks are left out, since QEMU frees little when it ends. A device that lets the guest choose how much it allocates
 * is found at 512 MiB.
 */
export function environmentOf({
  sanitized = false,
}: Pick<QemuInstallation, 'sanitized'>): Record<string, string> {
  if (!sanitized) return {};
  return {
    ASAN_OPTIONS: 'detect_leaks=0:halt_on_error=1:max_allocation_size_mb=512',
    UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
  };
}

/** What a sanitizer found. */
export interface SanitizerReport {
  /** `AddressSanitizer: heap-use-after-free`, `UndefinedBehaviorSanitizer: index 31 out of bounds for …`. */
  readonly what: string;
  /** The innermost function of the first stack that is QEMU's own: `my_rng_write (hw/misc/my-rng.c:123)`. */
  readonly where: string | undefined;
  /** Files of QEMU's source that the stacks of the report pass through: `hw/misc/my-rng.c`. */
  readonly files: readonly string[];
  /** Its first lines, as printed. */
  readonly lines: readonly string[];
}

const ADDRESS = /==\d+==ERROR: (\w+Sanitizer: .*)/;
const UNDEFINED = /^(\S+?\.[ch](?:\.inc)?):(\d+):\d+: runtime error: (.*)/;
const FRAME = /^\s+#\d+ 0x[0-9a-f]+ in (\S+) (\S+?)(?::(\d+))?(?::\d+)?$/;

/** Whether a report of a sanitizer begins with this line. */
export function beginsReport(line: string): boolean {
  return ADDRESS.test(line) || UNDEFINED.test(line);
}

/** Lines of a report that are kept: the access and the stacks of access, freeing and allocation. */
export const REPORT_LINES = 60;

/** The first report of a sanitizer in what QEMU printed, if there is one. */
export function findReport(output: readonly string[]): SanitizerReport | undefined {
  const from = output.findIndex(beginsReport);
  if (from < 0) return undefined;
  const lines = untilEnd(output.slice(from, from + REPORT_LINES));
  const frames = lines.map((line) => FRAME.exec(line)).filter((frame) => frame !== null);
  const own = frames.filter(([, , file = '']) => isSource(file));
  const [, undefinedAt = '', line = '', undefinedWhat = ''] = UNDEFINED.exec(lines[0] ?? '') ?? [];
  const isUndefined = undefinedAt !== '';
  const [, name = '', file = '', number = ''] = own[0] ?? [];
  const inner = isUndefined ? place(undefinedAt, line) : place(file, number);
  return {
    what: isUndefined ? `UndefinedBehaviorSanitizer: ${undefinedWhat}` : brief(lines[0] ?? ''),
    where: own.length === 0 && !isUndefined ? undefined : name === '' ? inner : `${name} (${inner})`,
    files: [...new Set([...(isUndefined ? [undefinedAt] : []), ...own.map(([, , path = '']) => path)])].map(
      inTree,
    ),
    lines,
  };
}

/** What follows the summary, or of undefined behaviour the stack, helps nobody who does not know the sanitizer's inside. */
function untilEnd(lines: readonly string[]): readonly string[] {
  const isAddress = ADDRESS.test(lines[0] ?? '');
  const end = lines.findIndex((line) => (isAddress ? line.startsWith('SUMMARY: ') : line.trim() === ''));
  return end < 0 ? lines : lines.slice(0, isAddress ? end + 1 : end);
}

/** `AddressSanitizer: heap-use-after-free` of a line that goes on with addresses. */
function brief(line: string): string {
  const text = ADDRESS.exec(line)?.[1] ?? line;
  return text.replace(/(?: on (?:unknown )?address| 0x[0-9a-f]| \(0x).*/, '');
}

/** Work trees keep the source in `src` beside the build; other relative names are those of libraries. */
function isSource(file: string): boolean {
  return /^(?:\.\.\/src\/|\/(?!usr\/|build\/)).*\.[ch](?:\.inc)?$/.test(file);
}

function place(file: string, line: string): string {
  return line === '' ? inTree(file) : `${inTree(file)}:${line}`;
}

/** `hw/misc/my-rng.c` for the name as the compiler knows it, `../src/hw/misc/my-rng.c`. */
function inTree(file: string): string {
  return file.replace(/^\.\.\/src\//, '');
}

/** One sentence: what was found where. */
export function describeReport({ what, where }: SanitizerReport): string {
  return where === undefined ? what : `${what} in ${where}`;
}

/**
 * The error for a QEMU that a sanitizer has ended; undefined when none has. It is charged to the owner of the devices
 * if one of their files is in a stack of the report, and otherwise to QEMU, the host's.
 */
export function sanitizerError(
  { lines }: QemuExit,
  owner: DeviceOwner = { blame: 'host', files: [] },
  log: string | undefined,
): LabError | undefined {
  const report = findReport(lines);
  if (report === undefined) return undefined;
  const theirs = report.files.some((file) => owner.files.includes(file));
  return new LabError({
    code: 'machine/sanitizer',
    blame: theirs ? owner.blame : 'host',
    fact: `a sanitizer has ended QEMU: ${describeReport(report)}`,
    evidence: report.lines.slice(0, 30),
    log,
    next: theirs
      ? 'correct the device at the first line of its source that the report names'
      : "no file of the device is named in the report: look whether it is QEMU's own mistake",
  });
}
