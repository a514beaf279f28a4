import { readFile } from 'node:fs/promises';
import type { Blame } from '../errors.js';

/** One thing that is put into somebody else's source tree. */
export type Contribution = (FileContribution | EditContribution | PatchContribution | RemovalContribution) & {
  /** Who has to act when it does not fit or does not compile; default `user`. */
  readonly blame?: Blame;
};

/** A file of ours at the path `to` of the tree; `from` is a path of the host. */
export interface FileContribution {
  readonly kind: 'file';
  readonly to: string;
  readonly from: string;
}

/** Lines added to a file of the tree: at its end, or next to an anchor that occurs exactly once. */
export interface EditContribution {
  readonly kind: 'edit';
  readonly path: string;
  readonly where: EditPlace;
  readonly text: string;
}

/** `after` and `before` hold one or more whole lines; leading and trailing blanks of a line do not count. */
export type EditPlace = 'end' | { readonly after: string } | { readonly before: string };

/** A unified diff at the host path `from`; `strip` leading components are taken off its names (default 1). */
export interface PatchContribution {
  readonly kind: 'patch';
  readonly from: string;
  readonly strip?: number;
}

/** The file at `path` of the tree is taken out of it. */
export interface RemovalContribution {
  readonly kind: 'removal';
  readonly path: string;
}

/** A file as it has to be in the tree. */
export interface TreeFile {
  readonly data: Buffer;
  readonly executable: boolean;
}

/** Paths of the tree that contributions touch, as their own words say it; none of them is applied. */
export async function contributedFiles(contributions: readonly Contribution[]): Promise<string[]> {
  const lists = await Promise.all(
    contributions.map(async (one) => {
      if (one.kind !== 'patch') return [one.kind === 'file' ? one.to : one.path];
      const names = (await readFile(one.from, 'latin1')).matchAll(/^\+\+\+ ([^\t\n\r]+)/gm);
      return [...names].map(([, name = '']) =>
        name
          .split('/')
          .slice(one.strip ?? 1)
          .join('/'),
      );
    }),
  );
  return [...new Set(lists.flat())];
}
