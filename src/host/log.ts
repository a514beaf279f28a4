import { createWriteStream, type WriteStream } from 'node:fs';

/**
 * Opens a log. That it cannot be written, as on a full disk, ends nothing: whatever else needs the disk says so.
 *
 * @param flags `a` appends, `w` starts anew.
 */
export function openLog(path: string, flags: 'a' | 'w'): WriteStream {
  const log = createWriteStream(path, { flags });
  log.on('error', () => {});
  return log;
}
