import type { Need } from '../build/tools.js';
import type { UpOptions } from './bring-up.js';
import { type PrepareOptions, usesSystemQemu } from './prepare.js';

/** What preparing a lab needs of the host: without a build from source, none of the tools for one. */
export function needsOf(options: PrepareOptions): Need[] {
  const qemu = usesSystemQemu(options) ? 'system-qemu' : 'qemu';
  const linux = options.kernel === 'distro' ? 'distro-linux' : 'linux';
  const builds = qemu === 'qemu' || linux === 'linux';
  return [qemu, linux, ...(builds ? (['sources'] as const) : []), 'modules', 'programs', 'image', 'machine'];
}

/** The same with the machine itself: changing this host's network takes tools of its own. */
export function upNeeds(options: UpOptions): Need[] {
  const { net } = options;
  return [...needsOf(options), ...(net.kind === 'tap' && net.ours ? (['tap'] as const) : [])];
}
