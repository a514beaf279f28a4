/**
 * Compares two Debian package versions, as deb-version(7) defines it: negative when `a` is older, 0 when they are
 * equal, positive when `a` is newer.
 */
export function compareDebianVersions(a: string, b: string): number {
  const [x, y] = [split(a), split(b)];
  return x.epoch - y.epoch || comparePart(x.upstream, y.upstream) || comparePart(x.revision, y.revision);
}

/** The upstream part without what Debian adds to it: `1:10.0.13+ds-0+deb13u1` is `10.0.13`. */
export function upstreamOf(version: string): string {
  return split(version)
    .upstream.replace(/[+~](ds|dfsg|really).*$/, '')
    .replace(/~(rc\d+)/, '-$1');
}

function split(version: string): { epoch: number; upstream: string; revision: string } {
  const colon = version.indexOf(':');
  const rest = version.slice(colon + 1);
  const dash = rest.lastIndexOf('-');
  return {
    epoch: colon < 0 ? 0 : Number(version.slice(0, colon)),
    upstream: dash < 0 ? rest : rest.slice(0, dash),
    revision: dash < 0 ? '' : rest.slice(dash + 1),
  };
}

/** Alternately a stretch without digits and a number, until they differ. */
function comparePart(a: string, b: string): number {
  const [x, y] = [a.match(/\D*\d*/g) ?? [], b.match(/\D*\d*/g) ?? []];
  for (let i = 0; i < Math.max(x.length, y.length); i += 1) {
    const [p, q] = [x[i] ?? '', y[i] ?? ''];
    const texts = compareText(p.replace(/\d+$/, ''), q.replace(/\d+$/, ''));
    if (texts !== 0) return texts;
    const numbers = Number(/\d+$/.exec(p)?.[0] ?? 0) - Number(/\d+$/.exec(q)?.[0] ?? 0);
    if (numbers !== 0) return numbers;
  }
  return 0;
}

function compareText(a: string, b: string): number {
  for (let i = 0; i < Math.max(a.length, b.length); i += 1) {
    const difference = rank(a[i]) - rank(b[i]);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** A tilde sorts before the end, the end before letters, letters before all else. */
function rank(char: string | undefined): number {
  if (char === undefined) return 0;
  if (char === '~') return -1;
  return /[a-z]/i.test(char) ? char.charCodeAt(0) : char.charCodeAt(0) + 256;
}
