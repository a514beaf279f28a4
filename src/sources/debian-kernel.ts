import type { AptContext } from './apt.js';
import { type Deb, dependsOf, downloadFound, newestOf, noPackage, withArchive } from './debian.js';

/** Names of the packages that make up one kernel. */
export interface KernelPackages {
  /** What `uname -r` says. */
  readonly release: string;
  /** The kernel and its modules. */
  readonly image: string;
  /** Configuration, generated headers and symbol versions of this build. */
  readonly headers: string;
  /** Headers that all builds of this version share. */
  readonly common: string;
  /** The compiled programs of kbuild. */
  readonly kbuild: string;
}

export type KernelDebs = Readonly<Record<Exclude<keyof KernelPackages, 'release'>, Deb>> & {
  readonly release: string;
};

/** The package that depends on the newest kernel of a Debian release. */
const META = 'linux-image-amd64';

/**
 * Downloads the newest kernel of the host's release of Debian and what building modules for it needs, without root and
 * without installing anything.
 *
 * @param dir folder for the `.deb` files; created if missing.
 * @throws LabError as `downloadDebs`.
 */
export async function downloadKernel(dir: string, context: AptContext): Promise<KernelDebs> {
  return await withArchive(context, async (archive) => {
    const index = await archive.open('stable');
    const release = kernelRelease(await dependsOf(index, META, context));
    if (release === undefined) throw noPackage(META, [`${index.suites.join(', ')}: not there`]);
    const depends = await dependsOf(index, `linux-headers-${release}`, context);
    const names = kernelPackages(release, depends);
    if (names === undefined) throw noPackage(`linux-headers-${release}`, depends.map(String));
    const { image, headers, common, kbuild } = names;
    const found = await newestOf(index, [image, headers, common, kbuild], context);
    const debs = await downloadFound(found, dir, context);
    const deb = (name: string) => debs.find((one) => one.name === name) as Deb;
    return {
      release,
      ...{ image: deb(image), headers: deb(headers), common: deb(common), kbuild: deb(kbuild) },
    };
  });
}

/** The release that the meta package stands for: `6.1.0-37-amd64`. */
export function kernelRelease(metaDepends: readonly (readonly string[])[]): string | undefined {
  return metaDepends.flatMap((choices) => /^linux-image-(\d\S*)$/.exec(choices[0] ?? '')?.[1] ?? [])[0];
}

/** The packages of a kernel, by what its `linux-headers-…` depends on; undefined when a part is not there. */
export function kernelPackages(
  release: string,
  headersDepends: readonly (readonly string[])[],
): KernelPackages | undefined {
  const names = headersDepends.flat();
  const common = names.find((name) => /^linux-headers-\d\S*-common$/.test(name));
  const kbuild = names.find((name) => name.startsWith('linux-kbuild-'));
  if (common === undefined || kbuild === undefined) return undefined;
  return { release, image: `linux-image-${release}`, headers: `linux-headers-${release}`, common, kbuild };
}
