import { type CheckContext, expectEqual } from '../../../lab/check.js';
import type { LineCheck, ModuleSetup } from '../../../lab/module-checks.js';

/** Loading the module, and what the guest shows of it. */
export function loadChecks(_setup: ModuleSetup): LineCheck[] {
  return [
    {
      id: 'lsblk',
      line: 'loads',
      machine: 'storage',
      title: 'lsblk shows a disk virtblkiosim of 32M',
      deadline: 10_000,
      run: lsblk,
    },
  ];
}

async function lsblk({ guest, signal, prove }: CheckContext): Promise<void> {
  const { stdout } = await guest.exec('lsblk -r -n -o NAME,SIZE,TYPE /dev/virtblkiosim', { signal });
  expectEqual('what lsblk shows', stdout.trim(), 'virtblkiosim 32M disk');
  prove(stdout.trim());
}
