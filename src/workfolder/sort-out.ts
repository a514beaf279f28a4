import { open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { sizeInWords } from '../intake/names.js';
import { isBinary } from '../intake/text.js';
import { type Difference, isExecutable } from './compare.js';

/** What becomes of the differences between a vanilla tree and a work tree. */
export interface SortedOut {
  /** They go into the patch. */
  readonly contributed: readonly Difference[];
  /** Build products and what editors leave; they do not belong into a patch. */
  readonly leftOut: readonly Remark[];
  /** What no patch can carry, or nobody should hand in. */
  readonly refused: readonly Remark[];
  /** What a reader of the patch would object to. */
  readonly warnings: readonly Remark[];
}

export interface Remark {
  readonly path: string;
  readonly why: string;
}

/** Bytes beyond which no source of a student is. */
const HUGE = 1024 ** 2;

/**
 * Tells the student's work from everything else that is in a work tree after some days of building in it.
 *
 * @param ignored the added paths that the tree's own `.gitignore` files name.
 */
export async function sortOut(
  work: string,
  differences: readonly Difference[],
  ignored: ReadonlySet<string>,
): Promise<SortedOut> {
  const contributed: Difference[] = [];
  const leftOut: Remark[] = [];
  const refused: Remark[] = [];
  const warnings: Remark[] = [];
  for (const difference of differences) {
    const { path } = difference;
    const data = await headOf(work, difference);
    const product = productOf(difference, data, ignored);
    const refusal = refusalOf(difference, data);
    if (difference.leftOut) warnings.push({ path, why: 'changed, but the exercise leaves its folder out' });
    else if (product !== undefined) leftOut.push({ path, why: product });
    else if (refusal !== undefined) refused.push({ path, why: refusal });
    else {
      contributed.push(difference);
      if (changesMode(difference)) warnings.push({ path, why: 'its executable bit, which no patch carries' });
      if (data.includes('\r\n'))
        warnings.push({ path, why: 'Windows line ends (CR LF): convert it, dos2unix' });
    }
  }
  return { contributed, leftOut, refused, warnings };
}

/** The whole content of a file of usual size, the beginning of a huge one, nothing of anything else. */
async function headOf(work: string, { path, after }: Difference): Promise<Buffer> {
  if (after?.isFile() !== true) return Buffer.alloc(0);
  const handle = await open(join(work, path));
  try {
    const buffer = Buffer.alloc(Math.min(after.size, HUGE));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

const PRODUCT =
  /(\.(o|ko|a|so|d|mod|mod\.c|order|symvers|pyc|gcno|gcda)|\.cmd|^(vmlinux|System\.map|Module\.symvers|\.config(\.old)?|core|tags|TAGS|cscope\..*))$/;
const GENERATED = /(^|\/)(include\/(generated|config)|__pycache__|\.git|\.tmp_versions|\.pc)\//;
const LEFTOVER = /(~|\.orig|\.rej|\.sw[a-p]|\.bak|\.save)$|^(#.*#|\.#.*|\.DS_Store|Thumbs\.db)$/;

/** Only what was added can be a product: what the vanilla tree has is source. */
function productOf(
  { kind, path }: Difference,
  data: Buffer,
  ignored: ReadonlySet<string>,
): string | undefined {
  if (kind !== 'added') return undefined;
  if (LEFTOVER.test(basename(path))) return 'left by an editor or by patch';
  if (PRODUCT.test(basename(path)) || GENERATED.test(path)) return 'build product';
  if (data.subarray(0, 4).equals(ELF) || data.subarray(0, 8).equals(ARCHIVE))
    return 'build product (by its content)';
  return ignored.has(path) ? 'named in .gitignore' : undefined;
}

const ELF = Buffer.from('\x7fELF', 'latin1');
const ARCHIVE = Buffer.from('!<arch>\n', 'latin1');

function refusalOf({ kind, path, before, after }: Difference, data: Buffer): string | undefined {
  if (!/^[\x21-\x7e]+$/.test(path) || /["\\]/.test(path)) return 'its name has blanks or special characters';
  if (kind === 'deleted') return before?.isFile() === true ? undefined : 'a link is gone';
  if (after?.isSymbolicLink() === true) return 'a symbolic link';
  if (after?.isFile() !== true) return 'no regular file';
  if (before !== undefined && !before.isFile()) return 'it was a link in the vanilla tree';
  if (isBinary(data)) return 'a binary file';
  if (kind === 'added' && after.size > HUGE) return `no source is that large (${sizeInWords(after.size)})`;
  return kind === 'added' && after.size === 0 ? 'an empty file' : undefined;
}

function changesMode({ before, after }: Difference): boolean {
  if (after === undefined) return false;
  return isExecutable(after) !== (before === undefined ? false : isExecutable(before));
}
