/** Longest line that is kept; the rest of a longer one is dropped, so that a guest cannot fill our memory. */
const LONGEST = 8 * 1024;
const LF = 10;
const CR = 13;

/**
 * Cuts a serial byte stream into lines of text. `\n`, `\r\n`, `\r\r\n` and a lone `\r` end a line. A line is decoded as
 * a whole, so the result does not depend on how the bytes were cut.
 */
export class SerialLines {
  readonly #onLine: (line: string) => void;
  readonly #bytes = Buffer.alloc(LONGEST);
  #length = 0;
  #afterReturn = false;

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  /** What has come of the line that is not finished: a prompt, for instance. */
  get open(): string {
    return this.#bytes.toString('utf8', 0, this.#length);
  }

  push(chunk: Uint8Array): void {
    for (const byte of chunk) {
      if (byte === LF || byte === CR) this.#endLine(byte);
      else {
        this.#afterReturn = false;
        if (this.#length < LONGEST) this.#bytes[this.#length++] = byte;
      }
    }
  }

  /** The last line, if it had no newline. */
  end(): void {
    if (this.#length > 0) this.#emit();
  }

  #endLine(byte: number): void {
    const secondHalf = this.#afterReturn && this.#length === 0;
    this.#afterReturn = byte === CR;
    if (!secondHalf) this.#emit();
  }

  #emit(): void {
    const line = this.open;
    this.#length = 0;
    this.#onLine(line);
  }
}

/**
 * A line as a reader would see it: without escape sequences, control characters, and the greetings of the firmware.
 * For matching only; evidence keeps the raw line.
 */
export function cleanLine(raw: string): string {
  const line = PLAIN.test(raw) ? raw : raw.replace(WIPED, '').replace(ESCAPES, '').replace(CONTROLS, '');
  return FIRMWARE.test(line) ? '' : line;
}

const PLAIN = /^[\x20-\x7e\t]*$/;
/** Everything before a terminal reset or a cleared screen. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it removes
const WIPED = /^.*\x1b(?:c|\[2J)/;
/** CSI (ECMA-48 5.4), OSC to BEL or ST, and two- and three-character escapes. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it removes
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]+[0-~]|[0-Z\\-~])/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it removes
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f]/g;
const FIRMWARE =
  /^(?:SeaBIOS \(version |iPXE |Booting from |Machine UUID |Press Ctrl-B |Press ESC for boot menu|PXE-|No bootable device|Select boot device|GNU GRUB )/;
