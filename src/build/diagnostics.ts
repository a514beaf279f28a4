/** One finding of a compiler, linker or build tool. */
export interface Diagnostic {
  readonly file: string;
  /** 1-based; absent where the tool names none, as linkers do. */
  readonly line?: number;
  readonly column?: number;
  readonly severity: 'error' | 'warning' | 'note';
  readonly message: string;
  /** The warning option, such as `-Wunused-variable`. */
  readonly flag?: string;
}

/** Turns a path as a tool prints it into the one that the reader knows. */
export type PathMap = (path: string) => string;

/**
 * The findings in the output of gcc, ld, meson, QEMU's minikconf, ninja, make, modpost, objtool and kconfig, each
 * once, in order of appearance. Lines of any other form are skipped.
 */
export function parseDiagnostics(lines: readonly string[], map: PathMap = (path) => path): Diagnostic[] {
  const found = new Map<string, Diagnostic>();
  let object = '';
  for (const line of lines) {
    object = /ld(?:\.bfd)?: (\S+\.o): in function /.exec(line)?.[1] ?? object;
    for (const rule of RULES) {
      const match = rule.pattern.exec(line);
      if (match === null) continue;
      const { file, ...rest } = rule.read(match.groups ?? {}, object);
      const diagnostic = { file: map(file), ...rest };
      const [head] = formatDiagnostics([diagnostic]);
      if (head !== undefined && !found.has(head)) found.set(head, diagnostic);
      break;
    }
  }
  return [...found.values()];
}

/** `file:line:column: severity: message [flag]`, without the parts that are unknown. */
export function formatDiagnostics(diagnostics: readonly Diagnostic[]): string[] {
  return diagnostics.map(({ file, line, column, severity, message, flag }) => {
    const place = [file, line, column].filter((part) => part !== undefined).join(':');
    return `${place}: ${severity}: ${message}${flag === undefined ? '' : ` [${flag}]`}`;
  });
}

type Groups = { readonly [name: string]: string | undefined };

interface Rule {
  readonly pattern: RegExp;
  readonly read: (groups: Groups, object: string) => Diagnostic;
}

const PLACE = /(?<file>[^\s:][^:]*):(?<line>\d+)(?::(?<column>\d+))?/.source;

const RULES: readonly Rule[] = [
  {
    // gcc, as, kconfig: "a.c:3:5: warning: unused variable 'x' [-Wunused-variable]", "Kconfig:7:warning: …"
    pattern: new RegExp(`^${PLACE}: ?(?:fatal )?(?<severity>[Ee]rror|[Ww]arning|note): (?<message>.*)$`),
    read: (g) => ({ ...placeOf(g), severity: severityOf(g.severity), ...messageAndFlag(g.message ?? '') }),
  },
  {
    // meson: "../hw/misc/meson.build:12:0: ERROR: …"
    pattern: new RegExp(`^${PLACE}: ERROR: (?<message>.*)$`),
    read: (g) => ({ ...placeOf(g), severity: 'error', message: g.message ?? '' }),
  },
  {
    // make on a makefile: "drivers/misc/Makefile:9: *** missing separator.  Stop."
    pattern: new RegExp(`^${PLACE}: \\*\\*\\* (?<message>.*?)(?:\\s+Stop\\.)?$`),
    read: (g) => ({ ...placeOf(g), severity: 'error', message: g.message ?? '' }),
  },
  {
    // ld: "my-rng.c:(.text+0x12): undefined reference to `f'", after a line that names the object
    pattern:
      /^(?:\S*ld(?:\.bfd)?: )?(?<file>[^\s:]+):(?:\([^)]*\)|(?<line>\d+)): (?<message>(?:undefined reference|multiple definition).*)$/,
    read: (g, object) => ({
      ...placeOf({ ...g, file: g.line === undefined && object !== '' ? object : g.file }),
      severity: 'error',
      message: g.message ?? '',
    }),
  },
  {
    // modpost: 'ERROR: modpost: "f" [drivers/misc/my-rng.ko] undefined!', "WARNING: modpost: missing MODULE_LICENSE() in x.o"
    pattern: /^(?<severity>ERROR|WARNING): modpost: (?<message>.*)$/,
    read: (g) => ({
      file:
        /\[?(\S+?)(?:\.ko|\.o|\.mod)\b/
          .exec(g.message ?? '')?.[1]
          ?.replace(/^\[/, '')
          .concat('.o') ?? 'modpost',
      severity: g.severity === 'ERROR' ? 'error' : 'warning',
      message: g.message ?? '',
    }),
  },
  {
    // objtool: "drivers/misc/my-rng.o: warning: objtool: f+0x12: …"
    pattern: /^(?<file>\S+\.o): (?<severity>error|warning): objtool: (?<message>.*)$/,
    read: (g) => ({ file: g.file ?? '', severity: severityOf(g.severity), message: `objtool: ${g.message}` }),
  },
  {
    // ninja: "ninja: error: '../hw/misc/x.c', needed by 'libcommon.a.p/x.c.o', missing and no known rule to make it"
    pattern: /^ninja: error: '(?<file>[^']+)'(?<message>,? .*)$/,
    read: (g) => ({ file: g.file ?? '', severity: 'error', message: (g.message ?? '').replace(/^,? /, '') }),
  },
  {
    // make: "make[3]: *** No rule to make target 'drivers/misc/x.o', needed by 'drivers/misc/built-in.a'.  Stop."
    pattern:
      /^make(?:\[\d+\])?: \*\*\* (?<message>No rule to make target '(?<file>[^']+)'.*?)(?:\s+Stop\.)?$/,
    read: (g) => ({ file: g.file ?? '', severity: 'error', message: g.message ?? '' }),
  },
  {
    // kconfig and minikconf: 'drivers/misc/Kconfig:20: syntax error', "hw/misc/Kconfig:7:5: parse error …"
    pattern:
      /^(?:\S*KconfigParserError: )?(?<file>[^\s:]*Kconfig[^\s:]*):(?<line>\d+)(?::(?<column>\d+))?: (?<message>.*)$/,
    read: (g) => ({ ...placeOf(g), severity: 'error', message: g.message ?? '' }),
  },
];

function placeOf(g: Groups): { file: string; line?: number; column?: number } {
  const column = Number(g.column ?? 0);
  return {
    file: g.file ?? '',
    ...(g.line === undefined ? {} : { line: Number(g.line) }),
    ...(column > 0 ? { column } : {}),
  };
}

function severityOf(word: string | undefined): Diagnostic['severity'] {
  const lower = word?.toLowerCase();
  return lower === 'error' || lower === 'note' ? lower : 'warning';
}

/** gcc appends the option: `[-Wunused-variable]`, or `[-Werror=unused-variable]` when it was made an error. */
function messageAndFlag(text: string): { message: string; flag?: string } {
  const match = /^(?<message>.*?) \[-W(?:error=)?(?<flag>[\w=-]+)\]$/.exec(text);
  const { message, flag } = match?.groups ?? {};
  return message === undefined || flag === undefined ? { message: text } : { message, flag: `-W${flag}` };
}
