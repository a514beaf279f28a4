import { posix } from 'node:path';
import { insertText } from '../build/edit.js';
import { chooseOne } from './choose.js';
import type { Against } from './normalise.js';
import type { Section } from './patch.js';
import { addedPieces } from './pieces.js';
import type { Recognised, Sorted } from './recognise.js';
import type { BuildFileRule } from './rules.js';
import { addedSection, changedSection, type DiffContext } from './sections.js';
import type { Project } from './submission.js';
import { textIn } from './trees.js';
import { takeWholeFile } from './whole-file.js';

/** What loose files of a hand-in come to, for one tree. */
export interface LooseSections {
  readonly sections: readonly Section[];
  /** Names of the files that it was made of. */
  readonly origin: string;
  readonly changes: readonly string[];
}

/** A loose source with its build files and headers, as a change of the pristine tree. */
export async function looseSections(
  project: Project,
  sources: readonly Recognised[],
  sorted: Sorted,
  against: Against,
  context: DiffContext,
): Promise<LooseSections> {
  const rules = against.rules.projects[project];
  const tree = against.trees[project];
  const paths = [rules.source.path];
  const candidates = sources.map((source) => ({ ...source, paths }));
  const { chosen, why } = chooseOne(candidates, { title: rules.title });
  const changes = why === undefined ? [] : [why];
  const [source] = chosen;
  const sections: Section[] = [];
  const origins: string[] = [];
  if (source !== undefined) {
    const own = sorted.buildFiles.filter((entry) => entry.project === project);
    const path = pathOf(
      source,
      rules.source.path,
      own.map(({ file }) => file.text),
    );
    changes.push(
      ...source.changes.map((what) => `${source.name}: ${what}`),
      `${source.name} was put at ${path}`,
    );
    sections.push(addedSection(path, source.text));
    origins.push(source.name);
    for (const header of headersOf(source, sorted.headers)) {
      sections.push(addedSection(`${posix.dirname(path)}/${posix.basename(header.name)}`, header.text));
      origins.push(header.name);
    }
    for (const rule of rules.buildFiles) {
      const copies = own.filter((entry) => entry.rule === rule).map(({ file }) => file);
      const taken = await buildSection(
        rule,
        nearest(copies, source),
        path,
        textIn(tree, rule.path) ?? '',
        context,
      );
      if (taken.section !== undefined) sections.push(taken.section);
      if (taken.origin !== undefined) origins.push(taken.origin);
      changes.push(taken.said);
    }
  }
  for (const { file, rule } of sorted.wholeFiles.filter((entry) => entry.project === project)) {
    if (sections.some((section) => section.path === rule.path)) continue;
    const taken = await takeWholeFile(rule, file, textIn(tree, rule.path) ?? '', context);
    if (taken.section !== undefined) {
      sections.push(taken.section);
      origins.push(file.name);
    }
    changes.push(taken.said);
  }
  return { sections, origin: origins.join(', '), changes };
}

/** The student's own name for it when the build files that came with it use that. */
function pathOf({ name }: Recognised, usual: string, buildTexts: readonly string[]): string {
  const stem = posix.basename(name).replace(/\.c$/i, '');
  const used = buildTexts.some((text) => [`${stem}.c`, `${stem}.o`].some((word) => text.includes(word)));
  const plain = /^[\w-]+$/.test(stem) && `${stem}.c` === posix.basename(name);
  return used && plain ? `${posix.dirname(usual)}/${stem}.c` : usual;
}

/** Headers that lie beside a source and that it includes. */
export function headersOf(source: Recognised, headers: readonly Recognised[]): Recognised[] {
  const folder = posix.dirname(source.name);
  return headers.filter(({ name }) => {
    const base = posix.basename(name);
    return posix.dirname(name) === folder && /^[\w.-]+$/.test(base) && source.text.includes(`"${base}"`);
  });
}

/** Of several copies the one in the same folder, or the first. */
function nearest(files: readonly Recognised[], to: Recognised): Recognised | undefined {
  return files.find(({ name }) => posix.dirname(name) === posix.dirname(to.name)) ?? files[0];
}

async function buildSection(
  rule: BuildFileRule,
  copy: Recognised | undefined,
  sourcePath: string,
  pristine: string,
  context: DiffContext,
): Promise<{ readonly section?: Section | undefined; readonly origin?: string; readonly said: string }> {
  const pieces = copy === undefined ? undefined : addedPieces(rule, copy.text, pristine);
  const usual = rule.usual.replace(/\bmy-rng(?=\.[co]\b)/g, posix.basename(sourcePath, '.c'));
  const text = pieces ?? usual;
  const merged = insertText(pristine, rule.where, text, { path: rule.path, blame: 'host' });
  const section = await changedSection(rule.path, pristine, merged, context);
  if (copy !== undefined && pieces !== undefined) {
    const said = `of ${copy.name} only what concerns the exercise was taken over, into ${rule.path}`;
    return { section, origin: copy.name, said };
  }
  const what =
    copy === undefined
      ? `no ${posix.basename(rule.path)} was handed in`
      : `${copy.name} adds nothing of its own`;
  return { section, said: `${what}; the usual lines were added to ${rule.path}` };
}
