/** A hand-in, normalised. Nothing of it has been executed. */
export interface Submission {
  /** Name of the folder or file handed in, without endings; letters, digits, `.`, `-`, `_`. */
  readonly id: string;
  /** The path as it was named. */
  readonly input: string;
  /** sha256, hex, over the names and bytes of everything handed in; of build products over names and sizes. */
  readonly digest: string;
  /** Newest modification time among what was handed in, as far as archives and folders tell. */
  readonly handedIn?: Date;
  /** What goes into QEMU's and into Linux's tree. */
  readonly parts: { readonly qemu?: Part; readonly linux?: Part };
  /** An out-of-tree module (sources with a makefile, or a lone driver source), copied to a folder of its own. */
  readonly module?: LooseModule;
  /** Modules that the exercise asks for, by the name that it gives them; of labs whose hand-ins are modules only. */
  readonly modules?: Readonly<Record<string, LooseModule>>;
  /** Block devices, of a lab whose hand-ins are those. */
  readonly devices?: LooseDevices;
  /** C source of the student's own user application, copied to a folder of its own. */
  readonly application?: LooseFile;
  /** Name of the report within the hand-in. */
  readonly report?: string;
  /** What was changed, chosen or assumed, in sentences. */
  readonly changes: readonly string[];
  /** What could not be used, with what the student should do. Empty for a hand-in without fault. */
  readonly problems: readonly IntakeProblem[];
}

export type Project = 'qemu' | 'linux';

/** What a student adds to one source tree. */
export interface Part {
  readonly project: Project;
  /**
   * Host path of a unified diff: git style names with one leading component, LF, no binary parts. Made from loose
   * files against the pristine tree when `wasPatch` is false.
   */
  readonly patch: string;
  /** False when loose files were handed in and the patch was made by us. */
  readonly wasPatch: boolean;
  /** Name within the hand-in, for messages. */
  readonly origin: string;
  /** Version that its names or file name mention: `8.2.0-rc2`. */
  readonly askedVersion?: string;
  /** What had to be guessed to read it at all: no tool applies it as it was handed in. */
  readonly damage?: readonly string[];
  /** Whether the tree in use is of another release (`8.2`, `6.6`) than the exercise asks for. */
  readonly otherRelease: boolean;
  /** Paths in the tree that it touches. */
  readonly files: readonly PartFile[];
  /** Where each hunk of `patch`, in order, stood in what was handed in; not for patches made by us. */
  readonly places?: readonly HunkPlace[];
}

export interface HunkPlace {
  /** Name within the hand-in. */
  readonly origin: string;
  /** 1-based line of the hunk's header in it. */
  readonly line: number;
}

export interface PartFile {
  readonly path: string;
  readonly kind: 'added' | 'changed' | 'deleted';
  /** Numbers of lines. */
  readonly added: number;
  readonly removed: number;
}

export interface LooseModule {
  /** Host folder that holds its sources. */
  readonly dir: string;
  /** Names of files in it, below it for a hand-in of modules. */
  readonly files: readonly string[];
  /** Folder in it with the makefile; its own when absent. */
  readonly folder?: string;
  /** Whether a Kbuild or Makefile was handed in; otherwise one was written by us. */
  readonly hadMakefile: boolean;
  /** Names of its C sources within the hand-in, for messages. */
  readonly origin?: string;
}

export interface LooseFile {
  readonly path: string;
  readonly origin: string;
}

/** Files with the code of block devices, copied to a folder of their own. */
export interface LooseDevices {
  /** Host folder that holds all of them, and what they import. */
  readonly dir: string;
  readonly entries: readonly DeviceFile[];
}

export interface DeviceFile {
  /** Host path. */
  readonly path: string;
  /** Name within the hand-in, for messages. */
  readonly origin: string;
  /** The device that it is by its names; absent when they do not tell. */
  readonly device?: string;
}

export interface IntakeProblem {
  readonly fact: string;
  readonly evidence: readonly string[];
  readonly next: string;
  /** The part that it is about, if one. */
  readonly project?: Project;
}

/** How a part fits the pristine tree of the version in use. */
export interface Fit {
  /** `clean`: exactly; `offset`: at other line numbers; `fuzz`: with less context; `whitespace`: blanks differ. */
  readonly kind: 'clean' | 'offset' | 'whitespace' | 'fuzz' | 'rejected';
  /** The same in a sentence for the student. */
  readonly sentence: string;
  /** What explains rejects, where that can be told. */
  readonly why?: 'applied-already' | 'other-version';
  /** Per file and hunk, in words, oldest first: what was found. */
  readonly details: readonly string[];
  /** Hunks that do not fit, each as the student wrote it; `line` is that of its header in the file handed in. */
  readonly rejects: readonly { readonly path: string; readonly line: number; readonly hunk: string }[];
  /** The files as they are to be in the tree, even when some hunks were rejected (then without those hunks). */
  readonly files: ReadonlyMap<string, FitFile>;
}

/** `undefined` data: the file is deleted. */
export interface FitFile {
  readonly data: Buffer | undefined;
  readonly executable: boolean;
}
