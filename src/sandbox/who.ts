import { readFileSync } from 'node:fs';

/** Whether we are root on the host itself, rather than what a user namespace, such as a container's, calls root. */
export function isHostRoot(): boolean {
  if (process.getuid?.() !== 0) return false;
  return /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'));
}
