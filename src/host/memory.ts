import { readFileSync } from 'node:fs';

/** @returns how many processes the kernel has killed for memory since the host was started, proc_vmstat(5). */
export function killedForMemory(): number {
  try {
    return Number(/^oom_kill (\d+)$/m.exec(readFileSync('/proc/vmstat', 'utf8'))?.[1] ?? 0);
  } catch {
    return 0; // not Linux
  }
}
