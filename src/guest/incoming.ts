import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError } from '../errors.js';
import { readTar, type TarMember } from '../host/tar-stream.js';
import type { Session } from './session.js';
import type { Stop } from './stop.js';

export interface Received {
  /** Sum of the files' sizes. */
  readonly bytes: number;
  /** Names, relative to the folder, of what is neither file nor folder and was left out. */
  readonly skipped: readonly string[];
}

/**
 * Sends `$1` as an archive whose only top member is `./<name>`. What the kernel makes up as it is read has no
 * true size, so it is copied first. 66: not there; 67: neither file nor folder.
 */
export const SEND = `p=$(readlink -f "$1") && [ -e "$p" ] || exit 66
d=\${p%/*} b=\${p##*/}
if [ -d "$p" ]; then [ -n "$b" ] || exit 67
elif [ -f "$p" ]; then
  made=
  case $p in /proc/*|/sys/*) made=1 ;; esac
  if [ -n "$made" ] || [ ! -s "$p" ]; then
    d=$(mktemp -d) || exit 1
    trap 'rm -rf "$d"' 0
    cat "$p" > "$d/$b" || exit 1
  fi
else exit 67
fi
tar -c -f - -C "$d/" "./$b"`;

/**
 * Makes `aside` from what the guest sends.
 *
 * @throws LabError `guest/archive`, `tar/damaged`, the reason of `stop`.
 */
export async function receive(
  session: Session,
  stop: Stop,
  aside: string,
  maxBytes: number,
): Promise<Received> {
  const skipped: string[] = [];
  let root: string | undefined;
  let rootIsFile = false;
  let bytes = 0;
  for await (const member of readTar(chunksOf(session, stop, maxBytes))) {
    const [dot, top, ...rest] = member.path.replace(/\/$/, '').split('/');
    const first = root === undefined;
    root ??= top;
    const inside =
      dot === '.' && top !== undefined && top === root && (first ? rest.length === 0 : rest.length > 0);
    if (!inside || rootIsFile || [top, ...rest].some(isUnsafe)) throw unexpected(member);
    if (first && member.kind === 'other') throw unexpected(member);
    rootIsFile = first && member.kind === 'file';
    if (member.kind === 'other') skipped.push(rest.join('/'));
    else await create(member, join(aside, ...rest));
    if (member.kind === 'file') bytes += member.size;
  }
  if (root === undefined) throw notAsAsked('what the guest sent', 'an empty archive');
  return { bytes, skipped };
}

/** A name that would leave its folder, or that no file can have. */
export function isUnsafe(name: string): boolean {
  return name === '' || name === '.' || name === '..' || name.includes('\0');
}

/** Never follows nor overwrites anything: whatever has the name already came from the same archive. */
async function create({ kind, mode, path, body }: TarMember, to: string): Promise<void> {
  try {
    if (kind === 'folder') {
      await mkdir(to, { mode: 0o755 });
      return;
    }
    await using file = await open(to, 'wx', (mode & 0o777) | 0o600);
    for await (const chunk of body()) await file.writeFile(chunk);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'EEXIST' && code !== 'ENOENT' && code !== 'ENOTDIR') throw error;
    throw notAsAsked(
      'what the guest sent',
      `${JSON.stringify(path.slice(0, 200))} does not fit what came before`,
    );
  }
}

async function* chunksOf(session: Session, stop: Stop, maxBytes: number): AsyncGenerator<Buffer> {
  const chunks = session.stdout.iterator({ destroyOnReturn: false });
  let total = 0;
  try {
    for (;;) {
      const { done, value } = await stop.race(chunks.next());
      if (done) return;
      stop.touch();
      total += (value as Buffer).length;
      if (total > maxBytes) throw notAsAsked('what the guest sent', `more than ${maxBytes} bytes`);
      yield value as Buffer;
    }
  } finally {
    const left = chunks.return?.(undefined); // not awaited: a pending `next()` holds it up
    left?.then(() => session.stdout.resume()).catch(() => {});
  }
}

function unexpected({ path, kind }: TarMember): LabError {
  return notAsAsked('what the guest sent', `a member ${JSON.stringify(path.slice(0, 200))} (${kind})`);
}

export function notAsAsked(what: string, evidence: string): LabError {
  return new LabError({
    code: 'guest/archive',
    blame: 'host',
    fact: `${what} is not the file or folder that was asked for`,
    evidence: [evidence],
    next: 'nothing of it was kept; see what tampers with tar in the guest',
  });
}
