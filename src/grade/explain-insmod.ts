/** A cause with what to do about it. */
interface Cause {
  readonly pattern: RegExp;
  readonly fact: (name: string, match: RegExpExecArray) => string;
  readonly hint: string;
}

/** What kernel/module/main.c and version.c print; first match wins. */
const KERNEL_SAID: readonly Cause[] = [
  {
    pattern: /version magic '([^']*)' should be '([^']*)'/,
    fact: (name, [, is, should]) => `${name} was built for another kernel: ${is} instead of ${should}`,
    hint: 'build it against the kernel tree that runs: make -C <tree> M=$PWD modules',
  },
  {
    pattern: /disagrees about version of symbol (\S+)/,
    fact: (name, [, symbol]) => `${name} was built against another kernel configuration (symbol ${symbol})`,
    hint: 'build it against the kernel tree that runs: make -C <tree> M=$PWD modules',
  },
  {
    pattern: /Unknown symbol (\S+) \(err/,
    fact: (name, [, symbol]) => `${name} uses the symbol ${symbol}, which this kernel does not export to it`,
    hint: 'use an exported function; some are exported to modules with MODULE_LICENSE("GPL") only',
  },
  {
    pattern: /GPL-incompatible module \S+ uses GPL-only symbol '(\S+)'/,
    fact: (name, [, symbol]) => `${name} uses ${symbol}, which is for GPL modules only`,
    hint: 'add MODULE_LICENSE("GPL")',
  },
  {
    pattern: /invalid ELF|Invalid relocation target/i,
    fact: (name) => `${name} is no kernel module for this machine`,
    hint: 'hand in the sources; the module is built from them',
  },
];

/** errno texts of insmod (kmod's and busybox's), for an init function that gave up. */
const INIT_FAILED: readonly Cause[] = [
  {
    pattern: /File exists/,
    fact: (name) => `${name} is loaded already, or its init function returned -EEXIST`,
    hint: 'give the module, its class and its device names of their own',
  },
  {
    pattern: /(?:Device or resource busy|Resource busy)/,
    fact: (name) => `${name} gave up while loading: device or resource busy (-EBUSY)`,
    hint: 'a device number, a memory region or an interrupt is taken already, perhaps by an earlier half of the same driver; only an interrupt can be shared',
  },
  {
    pattern: /No such device/,
    fact: (name) => `${name} gave up while loading: no such device (-ENODEV)`,
    hint: 'it looked for a device that is not there, or by other ids',
  },
  {
    pattern: /(?:Invalid module format|Exec format error)/,
    fact: (name) => `${name} has a format that this kernel refuses`,
    hint: 'build it against the kernel tree that runs: make -C <tree> M=$PWD modules',
  },
  {
    pattern: /: ([A-Z][^:\n]+?)\s*$/,
    fact: (name, [, error]) => `${name} gave up while loading: ${error}`,
    hint: 'its init function has to return 0 when all went well, and a negative errno value otherwise',
  },
];

/**
 * Why a module was not loaded. Pure.
 *
 * @param name file name of the module
 * @param stderr what insmod printed
 * @param log messages of the kernel since then, without time stamps
 */
export function explainInsmod(
  name: string,
  stderr: string,
  log: readonly string[],
): { fact: string; hint: string } {
  const said = find(KERNEL_SAID, name, log.join('\n'));
  return (
    said ??
    find(INIT_FAILED, name, stderr.trim()) ?? {
      fact: `insmod ${name} failed`,
      hint: 'read the kernel log below: dmesg',
    }
  );
}

function find(causes: readonly Cause[], name: string, text: string) {
  for (const { pattern, fact, hint } of causes) {
    const match = pattern.exec(text);
    if (match !== null) return { fact: fact(name, match), hint };
  }
  return undefined;
}
