/** One line of the kernel's log, taken apart. */
export interface KernelLine {
  /** Whether the line carried a `[ seconds.micros ]` stamp (CONFIG_PRINTK_TIME). */
  readonly stamped: boolean;
  /** `T12` (task) or `C0` (CPU in interrupt) when CONFIG_PRINTK_CALLER names the context; otherwise empty. */
  readonly caller: string;
  /** The message itself, leading blanks kept. */
  readonly text: string;
}

/** A place in the kernel's code, as `%pS` prints it: `symbol+0xoffset/0xsize [module]`. */
export interface CodePlace {
  readonly symbol: string;
  readonly offset: number;
  readonly size: number;
  readonly module?: string;
}

/**
 * Takes off what printk puts in front: syslog level, time, caller. The stamp is looked for anywhere, because what a
 * program wrote without a newline stands before the kernel's message on the same console line.
 */
export function parseKernelLine(line: string): KernelLine {
  const match = STAMP.exec(line);
  if (match === null) return { stamped: false, caller: '', text: line.replace(/^<\d{1,3}>/, '') };
  return {
    stamped: true,
    caller: match[1] ?? '',
    text: line.slice(match.index + match[0].length),
  };
}

/** `print_time` and `print_caller` of kernel/printk/printk.c. */
const STAMP = /\[ {0,4}\d{1,10}\.\d{6}\](?:\[ {0,5}([TC]\d{1,10})\])? ?/;

/** The first place in a text, or `undefined`. */
export function findPlace(text: string): CodePlace | undefined {
  const match = PLACE.exec(text);
  return match === null ? undefined : toPlace(match);
}

/** A line of a call trace; `sure` is false for the unwinder's guesses, printed with `?`. */
export function parseFrame(text: string): { readonly place: CodePlace; readonly sure: boolean } | undefined {
  const match = FRAME.exec(text);
  if (match === null) return undefined;
  const [, guess, ...place] = match;
  return { place: toPlace(['', ...place]), sure: guess === undefined };
}

const SYMBOL = '([A-Za-z_.$][\\w.$:<>]{0,510})\\+0x([0-9a-f]{1,16})/0x([0-9a-f]{1,16})';
const MODULE = '(?: \\[([\\w-]{1,64})(?: [0-9a-f]{40})?\\])?';
const PLACE = new RegExp(`(?<![\\w.$])${SYMBOL}${MODULE}`);
/** With an address in `[<…>]` before it up to Linux 4 and in kmemleak's reports up to 6.2. */
const FRAME = new RegExp(`^ +(?:\\[<[0-9a-f]{8,16}>\\] )?(\\? )?${SYMBOL}${MODULE}\\s*$`);

function toPlace([, symbol = '', offset = '0', size = '0', module]: readonly (
  | string
  | undefined
)[]): CodePlace {
  const place = { symbol, offset: Number.parseInt(offset, 16), size: Number.parseInt(size, 16) };
  return module === undefined ? place : { ...place, module };
}
