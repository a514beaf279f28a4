import type { CodePlace } from '../console/kernel-line.js';
import type { Timeouts } from '../timeouts.js';
import { machineLimits } from './limits.js';
import { runJailed } from './run.js';

/** An executable with line numbers for a submission's own files: a kernel or a module. */
export interface SymbolFile {
  readonly path: string;
  /** What is taken off the places that it names, e.g. the folder of the source tree. */
  readonly root: string;
}

/** Where a place in machine code comes from. */
export interface SourcePlace {
  readonly path: string;
  readonly line: number;
}

/**
 * Looks up where code comes from, as far as the file knows. The file is not trusted: the tools that read it run in a
 * jail.
 *
 * @returns one answer per place; `undefined` where the file has no line number.
 */
export async function decodePlaces(
  { path, root }: SymbolFile,
  places: readonly CodePlace[],
  { timeouts, signal }: { readonly timeouts: Timeouts; readonly signal: AbortSignal },
): Promise<(SourcePlace | undefined)[]> {
  const jail = { readOnly: [{ from: path, at: FILE }], limits: machineLimits };
  const options = { timeout: timeouts.hostTool, signal, accept: [0, 1] };
  const look = async (command: [string, ...string[]]) => (await runJailed(jail, command, options)).stdout;
  const names = [...new Set(places.map(({ symbol }) => symbol))].filter((name) => /^[\w.$]+$/.test(name));
  if (names.length === 0) return places.map(() => undefined);
  const symbols = parseSymbols(
    await look([
      '/bin/sh',
      '-c',
      `objdump -t ${FILE} | grep -E ' (${names.join('|').replaceAll('.', '\\.').replaceAll('$', '\\$')})$'`,
    ]),
  );
  return await Promise.all(
    places.map(async ({ symbol, offset }) => {
      const found = symbols.get(symbol);
      if (found === undefined) return undefined;
      const address = (found.value + BigInt(offset)).toString(16);
      const section = found.value < 0x10000000n ? ['-j', found.section] : [];
      return parsePlace(await look(['addr2line', '-e', FILE, ...section, `0x${address}`]), root);
    }),
  );
}

const FILE = '/run/lab/file';

interface SymbolEntry {
  readonly value: bigint;
  readonly section: string;
}

/** Lines of `objdump -t`: value, seven columns of flags, section, tab, size, name. */
function parseSymbols(text: string): Map<string, SymbolEntry> {
  const symbols = new Map<string, SymbolEntry>();
  for (const line of text.split('\n')) {
    const [, value, section, name] =
      /^([0-9a-f]{8,16}) .{7} (\.\S+)\s+[0-9a-f]+ (?:\.hidden )?(\S+)$/.exec(line) ?? [];
    if (value !== undefined && section !== undefined && name !== undefined) {
      symbols.set(name, { value: BigInt(`0x${value}`), section });
    }
  }
  return symbols;
}

function parsePlace(text: string, root: string): SourcePlace | undefined {
  const [, file, line] = /^(\S+):(\d+)/.exec(text) ?? [];
  if (file === undefined || line === undefined || file.startsWith('?') || line === '0') return undefined;
  return { path: file.startsWith(`${root}/`) ? file.slice(root.length + 1) : file, line: Number(line) };
}
