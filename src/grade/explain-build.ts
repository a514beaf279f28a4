/** What a line of a build's output means for whoever wrote the module. */
interface Cause {
  readonly pattern: RegExp;
  readonly fact: (match: RegExpExecArray) => string;
  readonly hint: string;
}

/** Of modpost, gcc and make; first match wins. */
const CAUSES: readonly Cause[] = [
  {
    pattern: /missing MODULE_LICENSE\(\)/,
    fact: () => 'the module names no licence, and the kernel builds none without',
    hint: 'add MODULE_LICENSE("GPL"), with MODULE_AUTHOR and MODULE_DESCRIPTION, at the end of the source',
  },
  {
    pattern: /GPL-incompatible module \S+ uses GPL-only symbol '(\S+?)'/,
    fact: ([, symbol]) => `the module uses ${symbol}, which is for modules under the GPL only`,
    hint: 'the licence named in MODULE_LICENSE is not a free one: name "GPL", or do without the function',
  },
  {
    pattern: /"(\S+)" \[\S+\] undefined/,
    fact: ([, symbol]) => `the module uses ${symbol}, which this kernel does not offer to modules`,
    hint: 'look the function up in the source of the kernel in use: EXPORT_SYMBOL makes one usable; it may have another name there, or be your own and missing from the makefile',
  },
  {
    pattern: /(?:proc_create\w*|proc_ops).*incompatible pointer type|incompatible.*struct proc_ops/,
    fact: () => 'files in /proc take a struct proc_ops since Linux 5.6, not a struct file_operations',
    hint: 'use struct proc_ops with .proc_open, .proc_ioctl, .proc_read and so on',
  },
  {
    pattern: /too many arguments to function .class_create/,
    fact: () => 'class_create() takes the name alone since Linux 6.4',
    hint: 'leave out THIS_MODULE, or ask LINUX_VERSION_CODE',
  },
  {
    pattern: /implicit declaration of function .(\w+)/,
    fact: ([, symbol]) => `the function ${symbol} is not declared in the kernel in use`,
    hint: 'include the header that declares it; functions of user space, and those of older kernels, are not there',
  },
  {
    pattern: /fatal error: (\S+): No such file or directory/,
    fact: ([, file]) => `the header ${file} is not there`,
    hint: 'hand in all headers of your own; headers of user space and of older kernels are not there',
  },
  {
    pattern: /No rule to make target '([^']+)'/,
    fact: ([, file]) => `the makefile asks for ${file?.split('/').at(-1)}, for which there is no source`,
    hint: 'the name before .o in the makefile has to be that of the C file, and the file has to be handed in',
  },
  {
    pattern: /missing separator/,
    fact: () => 'the makefile cannot be read: a line that should begin with a tab does not',
    hint: 'commands in a makefile begin with a tab, not with blanks',
  },
];

/**
 * Why a module was not built, as far as the output tells. Pure.
 *
 * @param evidence lines of the build
 */
export function explainBuild(evidence: readonly string[]): { fact: string; hint: string } | undefined {
  for (const { pattern, fact, hint } of CAUSES) {
    for (const line of evidence) {
      const match = pattern.exec(line);
      if (match !== null) return { fact: fact(match), hint };
    }
  }
  return undefined;
}
