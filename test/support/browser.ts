import { accessSync, constants, mkdtempSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { run } from '../../src/host/run.js';

/** The browser that pages are looked at with, if this host has one. */
export const browser = ['chromium', 'chromium-browser', 'google-chrome'].find(isInstalled);

export const NO_BROWSER = 'needs a browser: apt-get install -y chromium';

/** A document after its scripts ran, as the browser writes it, and what its console said. */
export interface Seen {
  readonly document: string;
  readonly console: readonly string[];
}

/** Opens a page in a folder of its own below `folder`. */
export async function look(folder: string, page: string, hash = ''): Promise<Seen> {
  const own = mkdtempSync(join(folder, 'page-'));
  writeFileSync(join(own, 'page.html'), page);
  const fixed = [
    ...['--headless', '--disable-gpu', `--user-data-dir=${own}/profile`],
    ...['--enable-logging=stderr', '--dump-dom'],
  ];
  const asRoot = process.getuid?.() === 0 ? ['--no-sandbox'] : []; // it refuses to confine itself as root
  const url = `file://${own}/page.html${hash}`;
  const { stdout, stderr } = await run(browser ?? '', [...fixed, ...asRoot, url], {
    timeout: 50_000,
    env: { HOME: own },
  });
  return { document: stdout, console: stderr.split('\n').filter((line) => line.includes(':CONSOLE')) };
}

function isInstalled(name: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((path) => {
    try {
      accessSync(join(path, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
