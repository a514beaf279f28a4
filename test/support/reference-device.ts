import { beforeAll } from 'vitest';
import { bareDevices } from '../../src/labs/my-rng/grading/bare.js';
import { type BareMachine, type BareSpec, launchBare } from '../../src/machine/bare.js';
import { scaled } from '../../src/timeouts.js';
import { type BuiltTree, linkVariants } from './device-qemu.js';
import { useTempFolder } from './temp.js';

export const timeouts = scaled(1);
export const { signal } = new AbortController();

/** Starts a bare machine with `instances` of `my_rng<properties>`. */
export type Launch = (
  properties?: string,
  instances?: number,
  more?: Partial<BareSpec>,
) => Promise<BareMachine>;

/** A QEMU with the device as it stands in the repository, for the tests of one file. */
export function useReferenceDevice(tree: BuiltTree | undefined): {
  readonly launch: Launch;
  readonly folder: { readonly path: string };
} {
  const folder = useTempFolder();
  let binary = '';
  beforeAll(async () => {
    if (tree !== undefined) binary = await linkVariants(tree, new Map(), folder.path);
  }, 240_000);
  const launch: Launch = (properties = ',extended=on', instances = 1, more = {}) => {
    const qemu = { binary, dataDirs: tree?.dataDirs ?? [] };
    const devices = bareDevices(`my_rng${properties}`, instances);
    return launchBare({ qemu, devices, ...more }, { timeouts, signal, blame: 'host' });
  };
  return { launch, folder };
}
