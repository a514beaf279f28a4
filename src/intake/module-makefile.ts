import { posix } from 'node:path';
import { builtName, type ModuleRule, moduleName } from './module-rules.js';
import type { Recognised } from './recognise.js';

/** What a makefile says about modules. */
export interface ModuleMakefile {
  readonly file: Recognised;
  /** Objects without `.o` of which it makes modules, relative to its folder. */
  readonly stems: readonly string[];
  /** Some of them only when an option of the kernel's configuration is set. */
  readonly conditional: boolean;
  /** Parts of modules made of several objects, without `.o`. */
  readonly parts: ReadonlyMap<string, readonly string[]>;
}

/** Whether a makefile is one for kernel modules, and not for programs. */
export function isModuleMakefile({ text }: Recognised): boolean {
  return /^[ \t]*obj-/m.test(text) || /\bM=|\bSUBDIRS=/.test(text);
}

/** Reads a makefile as far as simple assignments go; nothing of it is executed. */
export function readMakefile(file: Recognised): ModuleMakefile {
  const lines = file.text.replace(/\\\n/g, ' ').split('\n').map(withoutComment);
  const variables = new Map<string, string>();
  const stems = new Set<string>();
  const parts = new Map<string, string[]>();
  let conditional = false;
  for (const line of lines) {
    const [, name = '', , value = ''] =
      /^\s*([\w.-]+(?:\$[({]\w+[)}][\w.-]*)*)\s*([:?+]?=)\s*(.*)$/.exec(line) ?? [];
    if (name === '') continue;
    const key = expand(name, variables);
    const words = expand(value, variables).split(/\s+/);
    const objects = words.filter((word) => word.endsWith('.o')).map((word) => word.slice(0, -2));
    const config = /^obj-\$[({]CONFIG_\w+[)}]$/.test(name);
    if (key === 'obj-m' || config) for (const stem of objects) stems.add(stem);
    if (config && objects.length > 0) conditional = true;
    const module = /^(.+)-(?:y|objs|m)$/.exec(key)?.[1];
    if (module !== undefined && module !== 'obj')
      parts.set(module, [...(parts.get(module) ?? []), ...objects]);
    else if (!key.startsWith('obj-')) variables.set(key, value);
  }
  return { file, stems: [...stems].slice(0, 50), conditional, parts };
}

function withoutComment(line: string): string {
  return line.replace(/(^|\s)#.*$/, '$1');
}

/** Simple variables, as `TARGET` in `obj-m := $(TARGET).o`; twice, for those that name another. */
function expand(text: string, variables: ReadonlyMap<string, string>): string {
  const once = (given: string) =>
    given.slice(0, 10_000).replace(/\$[({](\w+)[)}]/g, (all, name: string) => variables.get(name) ?? all);
  return once(once(text));
}

/** The name under which a student's makefile is kept where ours has to take its place. */
export const KEPT = 'Kbuild.handed-in';

/** A file Kbuild that makes just the one module of a student's makefile, which is kept beside it, under the exercise's name. */
export function kbuildAround(rule: ModuleRule, stem: string, kept: string): string {
  const name = builtName(rule);
  const same = moduleName(stem) === name;
  const composed = `$(or $(strip $(${stem}-y) $(${stem}-objs)),${stem}.o)`;
  const own = same ? [] : [`${name}-y := ${composed}`];
  return [`include $(src)/${kept}`, `obj-m := ${same ? stem : name}.o`, ...own, ''].join('\n');
}

/** A file Kbuild for sources that came without one; the first of `stems` may not be the module's own name if there are more. */
export function kbuildOf(rule: ModuleRule, stems: readonly string[]): string {
  const [only = '', ...others] = stems;
  const name = builtName(rule);
  if (others.length === 0 && moduleName(only) === name) return `obj-m := ${only}.o\n`;
  return `obj-m := ${name}.o\n${name}-y := ${stems.map((stem) => `${stem}.o`).join(' ')}\n`;
}

/** Whether a makefile makes this module alone, under the exercise's name. */
export function isAsAsked({ stems, conditional }: ModuleMakefile, rule: ModuleRule): boolean {
  const [stem = '', ...others] = stems;
  return (
    others.length === 0 &&
    !conditional &&
    stem === posix.basename(stem) &&
    moduleName(stem) === builtName(rule)
  );
}
