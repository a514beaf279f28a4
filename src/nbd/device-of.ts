import { LabError } from '../errors.js';
import type { AnyBlockDevice } from './device.js';

/**
 * The device that a module stands for.
 *
 * @throws LabError `nbd/no-device`.
 */
export async function deviceOf(
  module: Readonly<Record<string, unknown>>,
  path: string,
): Promise<AnyBlockDevice> {
  const values = Object.values(module);
  const value = module.default ?? (values.length === 1 ? values[0] : undefined);
  const made = typeof value === 'function' ? await make(value) : value;
  const missing = ['blockSize', 'blocks', 'read'].filter(
    (name) => typeof (made as Record<string, unknown> | null | undefined)?.[name] !== 'function',
  );
  if (missing.length === 0) return made as AnyBlockDevice;
  const what =
    made === undefined ? 'it has no default export' : `what it exports has no ${missing.join('(), ')}()`;
  throw noDevice(path, new Error(what));
}

/**
 * Pure. A module of which the export is the default whose own name, or whose class's, has these words in it: a regular
 * expression, any case. The same module when there is none.
 */
export function exportNamed(
  module: Readonly<Record<string, unknown>>,
  words: string | undefined,
): Readonly<Record<string, unknown>> {
  if (words === undefined || words === '') return module;
  const pattern = new RegExp(words, 'i');
  const named = Object.entries(module)
    .filter(([key, value]) => pattern.test(key) || (typeof value === 'function' && pattern.test(value.name)))
    .map(([, value]) => value);
  const value = named.find(canRead) ?? named.find((each) => typeof each === 'function');
  return value === undefined ? module : { default: value };
}

function canRead(value: unknown): boolean {
  const owner = typeof value === 'function' ? (value.prototype as unknown) : value;
  return typeof (owner as { read?: unknown } | null | undefined)?.read === 'function';
}

async function make(value: unknown): Promise<unknown> {
  const { prototype } = value as { prototype?: { read?: unknown } };
  if (typeof prototype?.read === 'function') return new (value as new () => unknown)();
  return await (value as () => unknown)();
}

/** Why a file holds no device. */
export function noDevice(path: string, cause: unknown): LabError {
  const message = cause instanceof Error ? cause.message : String(cause);
  return new LabError({
    code: 'nbd/no-device',
    blame: 'user',
    fact: `${path} holds no block device that can be served`,
    evidence: message.split('\n').slice(0, 12),
    next: 'let the file export as default a class, an object or a function with blockSize(), blocks() and read()',
    cause,
  });
}
