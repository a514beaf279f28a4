import { z } from 'zod';
import type { Outcome } from '../lab/check.js';

const OUTCOMES = ['passed', 'failed', 'crashed', 'timed-out', 'blocked', 'skipped', 'error'] as const;
const outcome = z.enum(OUTCOMES) satisfies z.ZodType<Outcome>;

/** Text, or its lines. */
const text = z
  .union([z.string(), z.array(z.string())])
  .transform((t) => (Array.isArray(t) ? t.join('\n') : t));

const place = z.union([
  z.literal('end'),
  z.strictObject({ after: z.string() }),
  z.strictObject({ before: z.string() }),
]);

/** A source put at a path of the tree: as the whole file, or as lines added to the one that is there. */
const addition = z.strictObject({ source: z.string(), path: z.string(), where: place.optional() });

const partLayout = z.strictObject({
  project: z.enum(['qemu', 'linux']),
  /** How it is handed in where a fixture does not say otherwise: fields of `handIn.device` or `handIn.driver`. */
  handIn: z.record(z.string(), z.unknown()).default({}),
  /** Absolute names of a student's two trees, as `diff -urN` shows them. */
  vanilla: z.string(),
  work: z.string(),
  files: z.array(addition),
  /** What a hand-in outside of the tree consists of. */
  module: z.array(addition),
});

/** `base/layout.json`: where the base sources of a lab belong. */
export const layoutSchema = z.strictObject({
  /** Ids of the lines that every fixture has to name an outcome for. */
  lines: z.array(z.string()),
  /** A lab whose hand-ins are modules only has the part `driver` alone, one whose hand-ins are no changes of trees none. */
  parts: z.strictObject({ device: partLayout.optional(), driver: partLayout.optional() }),
  /** Base sources that lie elsewhere: name → path in `patches/<lab>`. */
  sources: z.record(z.string(), z.string()).default({}),
  /** Sources that are handed in as files of their own. */
  loose: z.array(z.string()),
});

const part = z.strictObject({
  /**
   * `git`: git diff; `mail`: format-patch in one file; `series`: the same as one file per commit; `urN`: diff -urN
   * with absolute names; `loose`: whole files at their paths in the tree; `flat`: whole files without those folders;
   * `module`: sources with a makefile of their own; `none`: not handed in.
   */
  style: z.enum(['git', 'mail', 'series', 'urN', 'loose', 'flat', 'module', 'none']).default('git'),
  /** Name of the file or folder within the hand-in; `<project>.patch` or `<project>` by default. Empty: no folder. */
  name: z.string().optional(),
  crlf: z.boolean().default(false),
  bom: z.boolean().default(false),
  /** `urN` only: an object file lay in the work tree, so that "Binary files … differ". */
  products: z.boolean().default(false),
  vanilla: z.string().optional(),
  work: z.string().optional(),
});

/** `find` occurs exactly once. */
const edit = z.strictObject({ file: z.string(), find: text, replace: text });

/** A half handed in once more, as another patch, with further changes. */
const furtherPart = z.strictObject({
  part: z.enum(['device', 'driver']),
  name: z.string(),
  edits: z.array(edit).min(1),
});

const path = z.string().min(1);
const extraFile = z.union([
  z.strictObject({ path, text }),
  z.strictObject({ path, source: z.string() }),
  z.strictObject({ path, link: z.string() }),
  /** Bytes that look like an object file, so many. */
  z.strictObject({ path, filler: z.int().positive() }),
  /** A patch of so many hunks. */
  z.strictObject({ path, hunks: z.int().positive() }),
  /** So many zeros in a zip whose directory says 4096. */
  z.strictObject({ path, bomb: z.int().positive() }),
]);

const handIn = z.strictObject({
  form: z.enum(['folder', 'file', 'zip', 'tar', 'tar.gz', 'tar.xz', 'git']).default('folder'),
  /** Name of the hand-in without ending; the fixture's by default. */
  name: z.string().optional(),
  /** Folders in it, each of which holds everything; none by default. */
  wrap: z.array(z.string()).default([]),
  device: part.prefault({}),
  driver: part.prefault({}),
  further: z.array(furtherPart).default([]),
  extra: z.array(extraFile).default([]),
});

const common = {
  /** What it shows, in one sentence. */
  title: z.string().endsWith('.'),
  handIn: handIn.prefault({}),
  /** Changes of sources, and of `device.patch` and `driver.patch`. */
  edits: z.array(edit).default([]),
  /** Base sources that are left out. */
  drop: z.array(z.string()).default([]),
  /** Further sources put into the trees. */
  add: z.array(addition.extend({ part: z.enum(['device', 'driver']) })).default([]),
  /** Paths of a tree whose pristine content is that source: the student worked on another version. */
  against: z.record(z.string(), z.string()).default({}),
  /** By line id; a list means that any of them is right. */
  expect: z.record(z.string(), z.union([outcome, z.array(outcome).min(2)])),
};

const bad = {
  /** The lines that it is meant to break. */
  breaks: z.array(z.string()).min(1),
  /** What exactly is wrong. */
  check: z.string().endsWith('.'),
};

const hostile = {
  /** What would be seen outside of the sandbox if it failed. */
  witness: z.array(
    z.strictObject({
      kind: z.enum(['file', 'network', 'process', 'output']),
      what: z.string().endsWith('.'),
    }),
  ),
  /** Why the expected outcomes are right. */
  why: z.string().endsWith('.'),
};

/** `fixture.json` by the folder that it lies in. */
export const fixtureSchemas = {
  good: z.strictObject(common),
  bad: z.strictObject({ ...common, ...bad }),
  hostile: z.strictObject({ ...common, ...hostile }),
};

export type FixtureKind = keyof typeof fixtureSchemas;
export type FixtureLayout = z.infer<typeof layoutSchema>;
export type PartLayout = z.infer<typeof partLayout>;
export type PartHandIn = z.infer<typeof part>;
export type ExtraFile = z.infer<typeof extraFile>;
type Common = z.infer<typeof fixtureSchemas.good>;
type Bad = z.infer<typeof fixtureSchemas.bad>;
type Hostile = z.infer<typeof fixtureSchemas.hostile>;

/** What all fixtures have, and what only the bad and the hostile ones have. */
export type FixtureFile = Common &
  Partial<Pick<Bad, keyof typeof bad>> &
  Partial<Pick<Hostile, keyof typeof hostile>>;
