/** What is pinned, where publishers keep it, and whose signature is believed. Data only; nothing here is fetched. */

export type Project = 'qemu' | 'linux';

/** A signing key, trusted for its fingerprint alone: wherever its bytes come from, only that is compared. */
export interface PinnedKey {
  readonly owner: string;
  /** Of the primary key, 40 upper-case hex digits. */
  readonly fingerprint: string;
  /** Where the owner or a key server publishes it. */
  readonly urls: readonly string[];
}

/** How a downloaded archive is shown to be the publisher's. */
export type Proof =
  | { readonly kind: 'digest'; readonly sha256: string }
  /** A clear-signed list of sha256 sums beside the archive. */
  | { readonly kind: 'signed-sums'; readonly file: string; readonly keys: readonly PinnedKey[] }
  /** A detached signature beside the archive, over its bytes or over the tar inside it. */
  | {
      readonly kind: 'signature';
      readonly file: string;
      readonly over: 'archive' | 'tar';
      readonly keys: readonly PinnedKey[];
    };

export interface Release {
  readonly project: Project;
  readonly version: string;
  /** Folder that holds `archive` and the files of its proofs; no slash at its end. */
  readonly folder: string;
  readonly archive: string;
  /** Tried in this order until one can be had; one that is had and does not hold ends it. */
  readonly proofs: readonly Proof[];
}

/** The versions that the labs are written for. */
export const pinnedVersions = { qemu: '8.2.0-rc2', linux: '6.6.4' } as const;

/** sha256 of archives whose digest is known in advance, by archive name. */
const digests: Readonly<Record<string, string>> = {
  'qemu-8.2.0-rc2.tar.xz': '01b428cddf0840d0c1b00ebfcc4f7cc506e88787564a4d3f57f22c7e50a3bbd8',
};

/** The release of that version as its publisher lays it out. */
export function releaseOf(project: Project, version: string): Release {
  return project === 'qemu' ? qemuRelease(version) : linuxRelease(version);
}

function qemuRelease(version: string): Release {
  const archive = `qemu-${version}.tar.xz`;
  return {
    project: 'qemu',
    version,
    folder: 'https://download.qemu.org',
    archive,
    proofs: [
      ...knownDigest(archive),
      { kind: 'signature', file: `${archive}.sig`, over: 'archive', keys: [keys.qemu] },
    ],
  };
}

function linuxRelease(version: string): Release {
  const archive = `linux-${version}.tar.xz`;
  return {
    project: 'linux',
    version,
    folder: `https://cdn.kernel.org/pub/linux/kernel/v${version.split('.')[0]}.x`,
    archive,
    proofs: [
      ...knownDigest(archive),
      { kind: 'signed-sums', file: 'sha256sums.asc', keys: [keys.kernelSums] },
      {
        kind: 'signature',
        file: `linux-${version}.tar.sign`,
        over: 'tar',
        keys: [keys.kernelStable, keys.torvalds],
      },
    ],
  };
}

function knownDigest(archive: string): Proof[] {
  const sha256 = digests[archive];
  return sha256 === undefined ? [] : [{ kind: 'digest', sha256 }];
}

/** kernel.org serves its developers' keys by web key directory (`hash` of the user's name) and from a repository. */
function kernelKey(user: string, hash: string, id: string): readonly string[] {
  return [
    `https://kernel.org/.well-known/openpgpkey/hu/${hash}?l=${user}`,
    `https://git.kernel.org/pub/scm/docs/kernel/pgpkeys.git/plain/keys/${id}.asc`,
  ];
}

const keys = {
  qemu: {
    owner: 'Michael Roth, releases of QEMU',
    fingerprint: 'CEACC9E15534EBABB82D3FA03353C9CEF108B584',
    urls: [
      'https://keys.openpgp.org/vks/v1/by-fingerprint/CEACC9E15534EBABB82D3FA03353C9CEF108B584',
      'https://keyserver.ubuntu.com/pks/lookup?op=get&options=mr&search=0xCEACC9E15534EBABB82D3FA03353C9CEF108B584',
    ],
  },
  kernelSums: {
    owner: 'kernel.org checksum autosigner',
    fingerprint: 'B8868C80BA62A1FFFAF5FDA9632D3A06589DA6B1',
    urls: kernelKey('autosigner', 'ew8uiogxwri7d3fuioqgt7u1d5sngorx', '632D3A06589DA6B1'),
  },
  kernelStable: {
    owner: 'Greg Kroah-Hartman, stable releases of Linux',
    fingerprint: '647F28654894E3BD457199BE38DBBDC86092693E',
    urls: kernelKey('gregkh', 'e3n9xnm94c5apezqnj1pmrfuaoyfm8cf', '38DBBDC86092693E'),
  },
  torvalds: {
    owner: 'Linus Torvalds',
    fingerprint: 'ABAF11C65A2970B130ABE3C479BE3E4300411886',
    urls: kernelKey('torvalds', 'pf113mfnx1f3eb1yiwhsipa91xfc7o4x', '79BE3E4300411886'),
  },
} as const satisfies Record<string, PinnedKey>;
