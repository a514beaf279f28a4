import type { Dirent } from 'node:fs';
import { chmod, lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';

interface Common {
  /** Absolute path in the guest, without `.` or `..`. */
  readonly path: string;
  readonly uid: number;
  readonly gid: number;
}

/** One name in the guest's file system. `mode` holds the permission bits, `source` is a file on the host. */
export type Entry = Common &
  (
    | { readonly kind: 'directory'; readonly mode: number }
    | { readonly kind: 'file'; readonly mode: number; readonly source: string }
    | { readonly kind: 'link'; readonly target: string }
  );

/** A whole file system, by path. */
export type Tree = ReadonlyMap<string, Entry>;

/**
 * Everything below the host's folder `root`, owned by the guest's root: whoever unpacked it could not keep owners.
 * Devices, sockets and pipes are left out. Files that their owner cannot read become readable on the host; the tree
 * keeps their real mode.
 */
export async function readTree(root: string): Promise<Tree> {
  const tree = new Map<string, Entry>();
  const visit = async (folder: string): Promise<void> => {
    const names = await readdir(join(root, folder), { withFileTypes: true });
    for (const name of names) {
      const entry = await entryOf(root, `${folder}/${name.name}`, name);
      if (entry === undefined) continue;
      tree.set(entry.path, entry);
      if (entry.kind === 'directory') await visit(entry.path);
    }
  };
  await visit('');
  return tree;
}

async function entryOf(root: string, path: string, dirent: Dirent): Promise<Entry | undefined> {
  const source = join(root, path);
  const common = { path, uid: 0, gid: 0 };
  if (dirent.isSymbolicLink()) return { ...common, kind: 'link', target: await readlink(source) };
  if (!dirent.isFile() && !dirent.isDirectory()) return undefined;
  const mode = (await lstat(source)).mode & 0o7777;
  const needed = dirent.isDirectory() ? 0o500 : 0o400;
  if ((mode & needed) !== needed) await chmod(source, mode | needed);
  return dirent.isDirectory()
    ? { ...common, kind: 'directory', mode }
    : { ...common, kind: 'file', mode, source };
}

/** `upper` over `lower`. A folder that both have stays as `lower` has it. */
export function overlayTrees(lower: Tree, upper: Tree): Tree {
  const merged = new Map(lower);
  for (const [path, entry] of upper) {
    if (entry.kind === 'directory' && lower.get(path)?.kind === 'directory') continue;
    merged.set(path, entry);
  }
  return merged;
}

/** The same with modes 0755 and 0644 alone: a checkout's other bits depend on the umask of whoever made it. */
export function plainModes(tree: Tree): Tree {
  const plain = (entry: Entry): Entry => {
    if (entry.kind === 'link') return entry;
    return { ...entry, mode: entry.kind === 'directory' || (entry.mode & 0o100) !== 0 ? 0o755 : 0o644 };
  };
  return new Map([...tree].map(([path, entry]) => [path, plain(entry)]));
}

/** The few names that not everybody may read, whatever the layers say: unpacking without root loses owners. */
export function guardSecrets(tree: Tree): Tree {
  const shadow = tree.get('/etc/shadow');
  return shadow?.kind === 'file'
    ? new Map([...tree, [shadow.path, { ...shadow, mode: 0o640, gid: 42 }]])
    : tree;
}
