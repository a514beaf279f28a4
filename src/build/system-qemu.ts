import { access, constants, mkdir, readFile, realpath, rename, stat, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { LabError } from '../errors.js';
import { cacheRoot } from '../host/paths.js';
import { run } from '../host/run.js';
import { digestJson } from '../host/store.js';
import { isAtLeast } from './meson.js';
import type { QemuPrograms } from './qemu.js';
import type { BuildContext } from './worktree.js';

/** The QEMU that is installed on this host. */
export interface SystemQemu extends QemuPrograms {
  /** The package that it belongs to with its version, or its path when it belongs to none. */
  readonly origin: string;
}

/** The oldest release that the machine profiles were tried with. */
const OLDEST = '7.2';

/**
 * The QEMU of this host. It finds its firmware by itself. Its digest changes with the program and its package.
 *
 * @throws LabError `host/no-qemu`, `host/old-qemu`.
 */
export async function systemQemu(context: BuildContext): Promise<SystemQemu> {
  const [binary, img] = await Promise.all(['qemu-system-x86_64', 'qemu-img'].map(find));
  if (binary === undefined || img === undefined) throw notInstalled();
  const files = await Promise.all([binary, img].map(fileIdentity));
  const { version, origin } = await identify(binary, digestJson(files), context);
  if (!isAtLeast(version, OLDEST)) throw tooOld(version, origin);
  return {
    ...{ version, binary, img, dataDirs: [], origin, sanitized: false, fresh: false },
    digest: digestJson({ version, origin, files }),
  };
}

/** Asking QEMU and dpkg takes longer than all else that an `up` does when nothing has changed: asked once per program. */
async function identify(
  binary: string,
  key: string,
  { step, timeouts }: BuildContext,
): Promise<Pick<SystemQemu, 'version' | 'origin'>> {
  const folder = join(cacheRoot(), 'probes');
  const memory = join(folder, `qemu-${key.slice(0, 16)}.json`);
  const known = await readFile(memory, 'utf8').catch(() => undefined);
  if (known !== undefined) return JSON.parse(known) as Pick<SystemQemu, 'version' | 'origin'>;
  const options = { signal: step.signal, timeout: timeouts.hostTool };
  const { stdout } = await run(binary, ['--version'], options);
  const version = parseQemuVersion(stdout) ?? '0';
  const answer = { version, origin: (await ownerOf(binary, options)) ?? binary };
  await mkdir(folder, { recursive: true });
  await writeFile(`${memory}.${process.pid}.part`, JSON.stringify(answer));
  await rename(`${memory}.${process.pid}.part`, memory);
  return answer;
}

/** `QEMU emulator version 7.2.22 (Debian …)` → `7.2.22`. */
export function parseQemuVersion(text: string): string | undefined {
  return /^QEMU emulator version (\d+(?:\.\d+)+)/m.exec(text)?.[1];
}

async function find(program: string): Promise<string | undefined> {
  for (const folder of (process.env.PATH ?? '').split(delimiter).filter((dir) => dir.startsWith('/'))) {
    const path = join(folder, program);
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return path;
  }
  return undefined;
}

/** `qemu-system-x86 1:7.2+dfsg-7+deb12u18`; undefined for a program that no package brought. */
async function ownerOf(
  binary: string,
  options: { readonly signal: AbortSignal; readonly timeout: number },
): Promise<string | undefined> {
  try {
    const { stdout } = await run('dpkg-query', ['-S', await realpath(binary)], options);
    const name = stdout.split(':')[0] ?? '';
    const status = (await run('dpkg-query', ['-s', name], options)).stdout;
    const version = /^Version: (\S+)$/m.exec(status)?.[1];
    return version === undefined ? undefined : `${name} ${version}`;
  } catch (error) {
    if (options.signal.aborted) throw error;
    return undefined;
  }
}

async function fileIdentity(path: string) {
  const { size, mtimeMs } = await stat(path);
  return { path: await realpath(path), size, mtimeMs };
}

function notInstalled(): LabError {
  return new LabError({
    code: 'host/no-qemu',
    blame: 'host',
    fact: 'this host has no QEMU for x86_64 machines',
    next: 'apt-get install qemu-system-x86 qemu-utils   (or `lab doctor --fix`), or have one built: --qemu-version 8.2.0',
  });
}

function tooOld(version: string, origin: string): LabError {
  return new LabError({
    code: 'host/old-qemu',
    blame: 'host',
    fact: `the QEMU of this host is ${version}, and ${OLDEST} is the oldest that will do`,
    evidence: [origin],
    next: 'have one built: --qemu-version 8.2.0',
  });
}
