import type { Contribution } from '../build/contribution.js';
import { LabError } from '../errors.js';
import { profileNames } from '../machine/profiles.js';
import type { Check } from './check.js';

/** A way of building the lab's kernel. */
export interface KernelVariant {
  readonly summary: string;
  readonly contributions: readonly Contribution[];
  /** Host paths of kernel configuration fragments beyond the base configuration. */
  readonly fragments: readonly string[];
  /** Whether the lab's modules are deployed and inserted. */
  readonly modules: boolean;
  /** For a variant with more to it than another kernel. */
  readonly parts?: VariantParts;
}

/** What a variant has besides the lab's own parts, and what it does in their place. */
export interface VariantParts
  extends Pick<Lab, 'devices' | 'modules' | 'kernelModules' | 'programs' | 'files' | 'undeploy'> {
  /** In place of the lab's. */
  readonly deploy: readonly string[];
  /** In place of the lab's. */
  readonly checks: readonly Check[];
}

/** A file of the host, or an artifact by name, that is copied into the guest. */
export interface DeployedFile {
  readonly from: { readonly module: string } | { readonly program: string } | { readonly text: string };
  readonly to: string;
  readonly mode: number;
}

/** What a student starts from, besides the vanilla sources, and what of it may be handed in. */
export interface Skeleton {
  /** What the skeleton adds to the vanilla trees. */
  readonly qemu: readonly Contribution[];
  readonly linux: readonly Contribution[];
  /** Other files of the work folder: path in it → host path. */
  readonly files: Readonly<Record<string, string>>;
  /** Files of the work folder that are one with a file of a tree: path in it → path in it. */
  readonly shared: Readonly<Record<string, string>>;
  /** Those of the lab's modules and programs that the student writes: name → path in the work folder. */
  readonly modules: Readonly<Record<string, string>>;
  readonly programs: Readonly<Record<string, string>>;
  /** Names of files and folders, at any depth, that the exercise leaves out of each patch. */
  readonly leftOut: { readonly qemu: readonly string[]; readonly linux: readonly string[] };
}

/** An exercise: what it adds to QEMU, Linux and the guest, and the checks that judge it. Data. */
export interface Lab {
  readonly name: string;
  readonly title: string;
  /** Versions that the exercise names; others are used only with a note. */
  readonly versions: { readonly qemu: string; readonly linux: string };
  readonly qemu: readonly Contribution[];
  /** Machine profile when none is asked for. */
  readonly profile: string;
  /** `-device` arguments. */
  readonly devices: readonly string[];
  /** The first is the default. */
  readonly variants: Readonly<Record<string, KernelVariant>>;
  /** Out-of-tree modules: name of the `.ko` without its ending → folder of its sources. */
  readonly modules: Readonly<Record<string, string>>;
  /** Why a distribution's kernel will not do, for a lab for which that is so. */
  readonly ownKernel?: string;
  /** Modules of the kernel itself that the lab loads; `modprobe` finds them, and what they depend on, in the guest. */
  readonly kernelModules: readonly string[];
  /** Static programs for the guest: name → C source. */
  readonly programs: Readonly<Record<string, string>>;
  readonly files: readonly DeployedFile[];
  /** Shell commands, run in the guest as root after the files are in place; `set -e` holds. */
  readonly deploy: readonly string[];
  /** Undo an earlier deployment; must succeed when there was none. */
  readonly undeploy: readonly string[];
  /** What remains to be done when the driver is part of the kernel. */
  readonly deployBuiltIn: readonly string[];
  /** PCI functions whose place is part of the contract: profile → BAR 0 address. */
  readonly topology?: {
    readonly vendor: number;
    readonly device: number;
    readonly bar0: Readonly<Record<string, number>>;
  };
  /** For a lab whose hand-ins are patches of source trees. */
  readonly skeleton?: Skeleton;
  readonly checks: readonly Check[];
}

/**
 * Accepts a lab's definition, or refuses it before any work.
 *
 * @throws LabError `lab/invalid` listing every mistake.
 */
export function defineLab(lab: Lab): Lab {
  const mistakes = [...checkMistakes(lab.checks), ...fileMistakes(lab), ...profileMistakes(lab)];
  mistakes.push(...variantMistakes(lab));
  if (!/^[a-z][a-z0-9-]*$/.test(lab.name)) mistakes.push(`name ${lab.name}: small letters, digits, hyphens`);
  if (Object.keys(lab.variants).length === 0) mistakes.push('variants: at least one is needed');
  if (mistakes.length === 0) return Object.freeze(lab);
  throw new LabError({
    code: 'lab/invalid',
    blame: 'user',
    fact: `the definition of the lab ${lab.name} is not valid`,
    evidence: mistakes,
    next: `correct src/labs/${lab.name}/lab.ts`,
  });
}

/**
 * The lab as one of its variants has it: devices after the lab's own, so that those stay where they are; modules,
 * programs and files beside them; the variant's commands and checks.
 */
export function labOf(lab: Lab, variant: string): Lab {
  const parts = lab.variants[variant]?.parts;
  return parts === undefined ? lab : withParts(lab, parts);
}

function withParts(lab: Lab, parts: VariantParts): Lab {
  return {
    ...lab,
    devices: [...lab.devices, ...parts.devices],
    modules: { ...lab.modules, ...parts.modules },
    kernelModules: [...lab.kernelModules, ...parts.kernelModules],
    programs: { ...lab.programs, ...parts.programs },
    files: [...lab.files, ...parts.files],
    undeploy: [...parts.undeploy, ...lab.undeploy],
    deploy: parts.deploy,
    checks: parts.checks,
  };
}

function variantMistakes(lab: Lab): string[] {
  return Object.entries(lab.variants).flatMap(([name, { parts }]) => {
    if (parts === undefined) return [];
    const whole = withParts(lab, parts);
    return [...checkMistakes(whole.checks), ...fileMistakes(whole)].map((text) => `variant ${name}: ${text}`);
  });
}

function checkMistakes(checks: readonly Check[]): string[] {
  const seen = new Set<string>();
  const mistakes: string[] = [];
  for (const { id, needs = [] } of checks) {
    if (seen.has(id)) mistakes.push(`check ${id}: the id is used twice`);
    for (const need of needs) {
      if (!seen.has(need)) mistakes.push(`check ${id}: needs ${need}, which does not come before it`);
    }
    seen.add(id);
  }
  return mistakes;
}

function fileMistakes({ files, modules, programs }: Lab): string[] {
  return files.flatMap(({ from, to }) => {
    if ('module' in from && !(from.module in modules)) return [`file ${to}: no module ${from.module}`];
    if ('program' in from && !(from.program in programs)) return [`file ${to}: no program ${from.program}`];
    return to.startsWith('/') ? [] : [`file ${to}: the path must be absolute`];
  });
}

function profileMistakes({ profile, topology }: Lab): string[] {
  const known = profileNames();
  return [profile, ...Object.keys(topology?.bar0 ?? {})]
    .filter((name) => !known.includes(name))
    .map((name) => `there is no machine profile ${name}`);
}
