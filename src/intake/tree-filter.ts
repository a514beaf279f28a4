import { type IntakeRules, isAllowed } from './rules.js';
import type { Project } from './submission.js';
import { hasFile, hasFolder, projects, type Trees } from './trees.js';

/** Files of one tree below the same folder that make this a whole source tree. */
const WHOLE = 100;

/**
 * Tells the files of a source tree from those of a student, where a hand-in holds the whole tree: tens of thousands, of
 * any version. Every name is to be asked for once, in the order in which they come.
 */
export class TreeFilter {
  readonly #trees: Trees;
  readonly #rules: IntakeRules;
  /** Paths of the files that students change and hand in whole. */
  readonly #changed: ReadonlySet<string>;
  readonly #folders = new Map<string, readonly FolderPlace[]>();
  readonly #roots = new Map<string, { readonly project: Project; count: number }>();

  constructor(trees: Trees, rules: IntakeRules) {
    this.#trees = trees;
    this.#rules = rules;
    const own = projects.map((project) => rules.projects[project]);
    this.#changed = new Set(
      own.flatMap(({ buildFiles, wholeFiles }) => [...buildFiles, ...wholeFiles].map(({ path }) => path)),
    );
  }

  /** Whether a file need not be looked at. */
  isTreeFile(name: string): boolean {
    const slash = name.lastIndexOf('/');
    const base = name.slice(slash + 1);
    for (const { project, root, dir } of slash === -1 ? [] : this.#placesOf(name.slice(0, slash))) {
      const path = `${dir}/${base}`;
      if (this.#changed.has(path)) return false;
      if (!hasFile(this.#trees[project], path)) continue;
      const seen = this.#roots.get(root) ?? { project, count: 0 };
      seen.count += 1;
      this.#roots.set(root, seen);
      return true;
    }
    const path = this.#wholePath(name);
    return path !== undefined && !path.mayBeOwn;
  }

  /** Whether a text that was kept is but a file of a whole tree of another version. */
  isStray(name: string, text: string): boolean {
    const path = this.#wholePath(name);
    if (path === undefined || this.#changed.has(path.path)) return false;
    return !path.mayBeOwn || !this.#concerns(`${name}\n${text}`);
  }

  #concerns(text: string): boolean {
    return projects.some((project) =>
      this.#rules.projects[project].buildFiles.some(({ concerns }) => concerns.test(text)),
    );
  }

  /** The path within a whole tree, if the name lies in one. */
  #wholePath(name: string): { readonly path: string; readonly mayBeOwn: boolean } | undefined {
    for (const [root, { project, count }] of this.#roots) {
      if (count < WHOLE || !name.startsWith(root)) continue;
      const path = name.slice(root.length);
      return { path, mayBeOwn: isAllowed(this.#rules.projects[project], path) || !path.includes('/') };
    }
    return undefined;
  }

  /** Looked up once per folder. */
  #placesOf(folder: string): readonly FolderPlace[] {
    const known = this.#folders.get(folder);
    if (known !== undefined) return known;
    const parts = folder.split('/');
    const places = projects.flatMap((project) => {
      const at = parts.findIndex((_, i) => hasFolder(this.#trees[project], parts.slice(i).join('/')));
      const root = parts
        .slice(0, at)
        .map((part) => `${part}/`)
        .join('');
      return at === -1 ? [] : [{ project, root, dir: parts.slice(at).join('/') }];
    });
    this.#folders.set(folder, places);
    return places;
  }
}

interface FolderPlace {
  readonly project: Project;
  /** What stands before the tree's own folders, with a slash at its end. */
  readonly root: string;
  readonly dir: string;
}
