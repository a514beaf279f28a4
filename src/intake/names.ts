import { posix } from 'node:path';

const LONGEST_NAME = 4096;
const LONGEST_PART = 255;

/**
 * A name as it stands in an archive or a folder, with `/` between its parts and without a leading `./`.
 * `refused` says, in words, why it cannot be the name of a file in a folder of its own.
 */
export function plainName(raw: string): { readonly name: string } | { readonly refused: string } {
  const slashed = raw.replaceAll('\\', '/');
  if (slashed.startsWith('/') || /^[A-Za-z]:/.test(slashed)) return { refused: 'is an absolute name' };
  const parts = slashed.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) return { refused: 'leaves the folder that it is unpacked to' };
  if (slashed.length > LONGEST_NAME || parts.some((part) => Buffer.byteLength(part) > LONGEST_PART))
    return { refused: 'is too long for a file name' };
  if (parts.some(hasControl)) return { refused: 'holds control characters' };
  return { name: parts.join('/') };
}

function hasControl(part: string): boolean {
  return [...part].some((char) => char < ' ' || char === '\x7f');
}

/** Whether a link of this name and target stays within the folder that holds both. */
export function staysInside(name: string, target: string): boolean {
  if (target === '' || posix.isAbsolute(target)) return false;
  const flat = posix.normalize(posix.join(posix.dirname(name), target.replaceAll('\\', '/')));
  return flat !== '..' && !flat.startsWith('../');
}

const PRODUCT_FOLDERS = new Set([
  ...['.git', '.svn', '.hg', '.idea', '.vs', '.vscode', '.cache', '.ccls-cache', '.tmp_versions'],
  ...['build', '__pycache__', 'node_modules', 'pyvenv', 'CMakeFiles'],
  ...['meson-info', 'meson-logs', 'meson-private'],
]);

const PRODUCT_PATHS = /(^|\/)(include\/(generated|config)|arch\/x86\/include\/generated)\//;

const PRODUCT_ENDINGS =
  /\.(o|ko|a|so(\.[\d.]+)?|cmd|d|lo|la|obj|exe|dll|class|pyc|bin|img|iso|qcow2|elf|dtb|dtbo|lst|mod|mod\.c|symvers|order|orig|rej|bak|sw[op]|tmp|gch|rpm|deb)$/i;

const PRODUCT_NAMES =
  /^(vmlinux.*|bzImage|zImage|Image|System\.map.*|Module\.symvers|modules\.(order|builtin.*|alias.*|dep.*)|qemu-(system-\w+|img|io|nbd|edid|storage-daemon)|\.config(\.old)?|\.version|\.missing-syscalls\.d|build\.ninja|\.ninja_(log|deps)|compile_commands\.json|config\.(log|status|mak)|config-(host|temp|meson)\..*|GNUmakefile|cscope\..*|tags|TAGS|GTAGS|GPATH|GRTAGS|a\.out|.*~|#.*#|~\$.*)$/;

const JUNK = /(^|\/)(__MACOSX\/|\.DS_Store$|\._[^/]*$|Thumbs\.db$|desktop\.ini$|\.fseventsd\/|\.Trashes\/)/i;

/** What an operating system leaves in folders. */
export function isJunk(name: string): boolean {
  return JUNK.test(name);
}

/** What a build, an editor or a version control system leaves in folders, by its name alone. */
export function isBuildProduct(name: string): boolean {
  const parts = name.split('/');
  const base = parts.at(-1) ?? '';
  return (
    parts.slice(0, -1).some((part) => PRODUCT_FOLDERS.has(part)) ||
    PRODUCT_PATHS.test(name) ||
    PRODUCT_ENDINGS.test(base) ||
    PRODUCT_NAMES.test(base)
  );
}

/** The name of a hand-in without endings, of letters, digits, `.`, `-` and `_`. */
export function idOf(name: string): string {
  const bare = name.replace(/(\.(zip|tar|tgz|tbz2?|txz|gz|xz|bz2|patch|diff|c|txt|pdf|mbox))+$/i, '');
  const plain = bare
    .normalize('NFKD')
    .replace(/\p{M}+/gu, '')
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[-.]+|[-.]+$/g, '');
  return plain.slice(0, 80) || 'hand-in';
}

/** Bytes in words: `300 MB`. */
export function sizeInWords(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${Math.round(bytes / 1e6)} MB`;
}

/** A number with its noun and thousands apart: `4,123 build products`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en-US')} ${count === 1 ? one : many}`;
}
