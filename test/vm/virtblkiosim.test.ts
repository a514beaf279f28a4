import { spawnSync } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Report } from '../../src/grade/report.js';
import { root, useCli } from './cli.js';

const { lab, state } = useCli();
const MACHINE = ['virtblkiosim', '--name', 'block', '--accel', 'tcg'];
const sources = join(root, 'patches/virtblkiosim/module');

interface Mutant {
  /** What is replaced in our own driver, and by what. */
  readonly edits: readonly (readonly [string, string])[];
  /** Check that must fail. */
  readonly check: string;
  /** What its fact or evidence says. */
  readonly says: RegExp;
}

const MUTANTS: Readonly<Record<string, Mutant>> = {
  'half the size': {
    edits: [['set_capacity(disk, sim.bytes >> SECTOR_SHIFT)', 'set_capacity(disk, sim.bytes >> 10)']],
    check: 'lsblk',
    says: /virtblkiosim 16M disk/,
  },
  'one minor': {
    edits: [['#define SIM_MINORS\t\t16', '#define SIM_MINORS\t\t1']],
    check: 'lsblk',
    says: /number of minors/,
  },
  'loses writes to the last MiB': {
    edits: [
      [
        '\t\tif (write)\n',
        '\t\tif (write && at >= sim.storage + sim.bytes - SZ_1M)\n\t\t\t;\n\t\telse if (write)\n',
      ],
    ],
    check: 'whole-disk',
    says: /SHA-256 of the whole disk/,
  },
  'writes to the user without checking': {
    edits: [
      [
        'copy_to_user(to, page_address(page), SIM_BLOCK)',
        '(memcpy((void __force *)to, page_address(page), SIM_BLOCK), 0)',
      ],
    ],
    check: 'ioctl-size',
    says: /did not come to its end/,
  },
  'ignores bad addresses': {
    edits: [['\t\tret = -EFAULT;\n\t__free_page', '\t\tret = 0;\n\t__free_page']],
    check: 'bad-pointers',
    says: /read at \S+ .* reports success instead of EFAULT/,
  },
  'copies too much': {
    edits: [
      [
        'copy_to_user(to, page_address(page), SIM_BLOCK)',
        'copy_to_user(to, page_address(page), SIM_BLOCK + 1)',
      ],
    ],
    check: 'ioctl-blocks',
    says: /another number of bytes|EFAULT/,
  },
  'takes any command': {
    edits: [['default:\n\t\treturn -ENOTTY;', 'default:\n\t\treturn 0;']],
    check: 'unknown-commands',
    says: /command 0x\w+ .* reports success instead of ENOTTY/,
  },
  'knows no end': {
    edits: [
      ['start > sim.bytes || length > sim.bytes - start', 'false'],
      ['vmalloc_huge(sim.bytes,', 'vmalloc_huge(sim.bytes + SZ_4M,'],
    ],
    check: 'beyond-end',
    says: /what the driver makes of a/,
  },
  'does not clear its memory': {
    edits: [['GFP_KERNEL | __GFP_ZERO |', 'GFP_KERNEL |']],
    check: 'fresh-disk',
    says: /memory held before/,
  },
  'keeps its memory': {
    edits: [['\tvfree(sim.storage);\n\tpr_info("Device unreg', '\tpr_info("Device unreg']],
    check: 'memory-back',
    says: /does not give all memory back/,
  },
  'can be removed while open': {
    edits: [['\t.owner = THIS_MODULE,\n', '']],
    check: 'busy',
    says: /./,
  },
};

/** One machine: each mutant takes the place of our module in it, and is taken out again. */
describe('virtblkiosim', () => {
  let work: string;

  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'lab-mutants-'));
    const { code, stderr } = await lab('up', ...MACHINE);
    expect(code, stderr).toBe(0);
  });

  afterAll(async () => {
    await rm(work, { recursive: true, force: true });
  });

  test('every check passes, with proof', async () => {
    const { code, stdout } = await lab('test', ...MACHINE, '--json');
    const { checks } = JSON.parse(stdout) as Report;
    expect(checks.filter(({ outcome }) => outcome !== 'passed' && outcome !== 'skipped')).toEqual([]);
    expect(checks.filter(({ outcome, proof }) => outcome === 'passed' && proof.length === 0)).toEqual([]);
    expect(code).toBe(0);
  });

  test.each(Object.entries(MUTANTS))('a driver that %s is caught', async (name, mutant) => {
    const ko = await build(name, mutant);
    // One that spoilt the kernel cannot be taken out again: then the machine is started anew.
    if (!(await replaced(ko))) {
      await lab('down', '--all', '--force');
      expect((await lab('up', ...MACHINE)).code).toBe(0);
      expect(await replaced(ko)).toBe(true);
    }
    const { code, stdout } = await lab('test', ...MACHINE, '--json', '--filter', mutant.check);
    expect(code, stdout).toBe(1);
    const verdict = (JSON.parse(stdout) as Report).checks.find(({ id }) => id === mutant.check);
    expect(['failed', 'crashed', 'timed-out'], stdout).toContain(verdict?.outcome);
    expect(`${verdict?.fact} ${verdict?.evidence.join(' ')} ${verdict?.hint}`).toMatch(mutant.says);
  });

  async function replaced(ko: string): Promise<boolean> {
    const copied = await lab('cp', '-m', 'block', ko, ':/opt/lab/virtblkiosim.ko');
    const swap = '[ ! -d /sys/module/virtblkiosim ] || rmmod virtblkiosim; insmod /opt/lab/virtblkiosim.ko';
    return copied.code === 0 && (await lab('exec', '-m', 'block', '--', 'sh', '-c', swap)).code === 0;
  }

  async function build(name: string, { edits }: Mutant): Promise<string> {
    const dir = join(work, name.replaceAll(' ', '-'));
    await cp(sources, dir, { recursive: true });
    let text = await readFile(join(dir, 'virtblkiosim.c'), 'utf8');
    for (const [from, to] of edits) {
      expect(text, `the source of "${name}"`).toContain(from);
      text = text.replace(from, to);
    }
    await writeFile(join(dir, 'virtblkiosim.c'), text);
    const { status, stderr } = spawnSync('make', ['-C', await kbuildOf(), `M=${dir}`, 'modules'], {
      encoding: 'utf8',
    });
    expect(status, stderr).toBe(0);
    return join(dir, 'virtblkiosim.ko');
  }

  /** Kernel image and build tree lie in one artifact; QEMU's command line names the image. */
  async function kbuildOf(): Promise<string> {
    const script = await readFile(join(state(), 'machines/block/qemu.sh'), 'utf8');
    return join(dirname(/ -kernel (\S+)/.exec(script)?.[1] ?? ''), 'kbuild');
  }
});
