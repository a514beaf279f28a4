/** One place to get packages from, as in a stanza of a deb822 `.sources` file. */
export interface AptEntry {
  readonly uris: readonly string[];
  readonly suites: readonly string[];
  readonly components: readonly string[];
  /** All other fields, by their lower-case names, unchanged: `signed-by`, `trusted`, `check-valid-until`, … */
  readonly options: Readonly<Record<string, string>>;
}

/**
 * Reads one-line entries (sources.list, `*.list`) as described in sources.list(5): `deb [option=value …] uri suite
 * component…`. `deb` and `deb-src` lines count alike; lines that are neither are skipped.
 */
export function parseOneLine(text: string): AptEntry[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*deb(?:-src)?\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (match === null) return [];
    const [, options = '', uri = '', suite = '', components = ''] = match;
    return {
      uris: [uri],
      suites: [suite],
      components: words(components),
      options: Object.fromEntries(words(options).flatMap(oneLineOption)),
    };
  });
}

/** sources.list(5) names three options differently in the two forms. */
const RENAMED: Readonly<Record<string, string>> = {
  arch: 'architectures',
  lang: 'languages',
  target: 'targets',
};

function oneLineOption(text: string): [string, string][] {
  const [, name, value] = /^([a-z-]+?)[+-]?=(.*)$/i.exec(text) ?? [];
  if (name === undefined || value === undefined) return [];
  return [[RENAMED[name.toLowerCase()] ?? name.toLowerCase(), value.replaceAll(',', ' ')]];
}

/** Reads deb822 stanzas (`*.sources`). Those with `Enabled: no` are skipped; keys embedded in `Signed-By` are kept. */
export function parseDeb822(text: string): AptEntry[] {
  return stanzas(text).flatMap((fields) => {
    const { types = '', uris = '', suites = '', components = '', enabled = 'yes', ...options } = fields;
    if (/^(no|false|without|off|disable)$/i.test(enabled) || types === '') return [];
    const entry = { uris: words(uris), suites: words(suites), components: words(components), options };
    return entry.uris.length > 0 && entry.suites.length > 0 ? entry : [];
  });
}

function stanzas(text: string): Record<string, string>[] {
  const lines = text.split('\n').filter((line) => !line.startsWith('#'));
  return lines
    .join('\n')
    .split(/\n[ \t]*\n/)
    .map((stanza) => {
      const fields = stanza.matchAll(/^([^\s:]+):[ \t]*(.*(?:\n[ \t].*)*)/gm);
      return Object.fromEntries(
        [...fields].map(([, name = '', value = '']) => [name.toLowerCase(), value.trimEnd()]),
      );
    })
    .filter((fields) => Object.keys(fields).length > 0);
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

/** The stanza for one suite of an entry, to get sources or binary packages from. */
export function stanzaFor(entry: AptEntry, type: 'deb' | 'deb-src', suite: string): string {
  const fields = {
    types: type,
    uris: entry.uris.join(' '),
    suites: suite,
    ...(suite.endsWith('/') ? {} : { components: 'main' }),
    ...entry.options,
  };
  return `${Object.entries(fields)
    .map(([name, value]) => `${name}: ${value}`)
    .join('\n')}\n`;
}

/** Releases of Debian in their order. */
const CODENAMES = ['bullseye', 'bookworm', 'trixie', 'forky'];

/**
 * Suites that are searched together, on a host of the release `codename`: `stable` (its own), `backports`, and `next`
 * (of the release after it).
 */
export function groupsFor(codename: string): Readonly<Record<string, readonly string[]>> {
  const at = CODENAMES.indexOf(codename);
  const next = at < 0 ? undefined : CODENAMES[at + 1];
  return {
    stable: ownSuites(codename),
    backports: [`${codename}-backports`],
    ...(next === undefined ? {} : { next: ownSuites(next) }),
  };
}

/** Security updates come first: versions vanish from there last. */
function ownSuites(codename: string): string[] {
  return [`${codename}-security`, `${codename}-updates`, codename];
}

/**
 * The entries to get `suite` from: those that name it, and otherwise, for a suite that the system does not use, those
 * that name its counterpart of the host's own release, if possible where also `-updates` comes from: third parties
 * name suites after releases too.
 */
export function entriesFor(entries: readonly AptEntry[], suite: string, codename: string): AptEntry[] {
  const main = entries.filter(({ components }) => components.includes('main'));
  const naming = (wanted: string) =>
    main.filter(({ suites }) => suites.some((name) => withoutAlias(name, codename) === wanted));
  const same = naming(suite);
  const similar =
    same.length > 0 ? same : naming(suite.endsWith('-security') ? `${codename}-security` : codename);
  const places = naming(`${codename}-updates`).flatMap(({ uris }) => uris);
  const official = similar.filter(({ uris }) => uris.some((uri) => places.includes(uri)));
  return official.length > 0 ? official : similar;
}

/** `stable`, `oldstable-updates` and so on, in the configuration of a host, mean the release that it has. */
function withoutAlias(suite: string, codename: string): string {
  return suite.replace(/^(old)*stable(?=$|-)/, codename);
}
