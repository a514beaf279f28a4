import { spawnSync } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Report } from '../../src/grade/report.js';
import { root, useCli } from './cli.js';

const { lab, state } = useCli();
const MACHINE = ['my-rng', '--variant', 'further', '--name', 'further', '--accel', 'tcg'];
const sources = join(root, 'patches/my-rng/further');

interface Mutant {
  readonly file: string;
  /** What is replaced in it, and by what. */
  readonly edit: readonly [string, string];
  /** Check that must fail. */
  readonly check: string;
  /** What its fact, evidence or hint says. */
  readonly says: RegExp;
}

const MUTANTS: Readonly<Record<string, Mutant>> = {
  'ignores the interrupt': {
    file: 'my-rng-pci.c',
    edit: ['\tif (status & MY_RNG_IRQ_DONE)\n\t\tWRITE_ONCE(rng->done, true);\n', ''],
    check: 'interrupts-msi',
    says: /EIO/,
  },
  'never asks for the interrupt': {
    file: 'my-rng-pci.c',
    edit: [
      'writel(MY_RNG_IRQ_ALL, rng->regs + MY_RNG_REG_IRQ_ENABLE)',
      'writel(0, rng->regs + MY_RNG_REG_IRQ_ENABLE)',
    ],
    check: 'paths-intx',
    says: /EIO/,
  },
  'hands out a number twice': {
    file: 'my-rng-draw.c',
    edit: ['cpu_to_le32(upper_32_bits(two))', 'cpu_to_le32(lower_32_bits(two))'],
    check: 'paths-msi',
    says: /not the sequence of seed/,
  },
  'reads 32 bits where 64 are asked for': {
    file: 'my-rng-draw.c',
    edit: [
      'two = readq(rng->regs + MY_RNG_REG_RNG64);',
      'two = readl(rng->regs + MY_RNG_REG_RNG);\n\t\ttwo |= (u64)readl(rng->regs + MY_RNG_REG_RNG) << 32;',
    ],
    check: 'paths-msi',
    says: /counted as reads for 64 KiB by the path wide/,
  },
  'never transfers in bulk': {
    file: 'my-rng-draw.c',
    edit: [
      'if (path == MY_RNG_PATH_BULK)\n\t\treturn my_rng_draw_bulk',
      'if (path > MY_RNG_PATH_BULK)\n\t\treturn my_rng_draw_bulk',
    ],
    check: 'paths-intx',
    says: /by the path bulk is not as expected/,
  },
  'loses what did not reach the program': {
    file: 'my-rng-file.c',
    edit: ['\t\t\tret = -EFAULT;\n\t\telse', '\t\t\tf->from = f->to, ret = -EFAULT;\n\t\telse'],
    check: 'pointers',
    says: /leave the sequence/,
  },
  'loses numbers when a signal comes': {
    file: 'my-rng-file.c',
    edit: [
      '\t\t\tret = -ERESTARTSYS;\n\t\tcond_resched();',
      '\t\t\tret = my_rng_draw(f->rng, f->path, (__le32 *)f->buffer, 8, &f->epoch) ? -ERESTARTSYS : 0;',
    ],
    check: 'signals',
    says: /numbers were lost/,
  },
  'has the kernel trust its numbers': {
    file: 'my-rng-pci.c',
    edit: ['rng->hwrng.quality = 1;', 'rng->hwrng.quality = 0;'],
    check: 'hwrng',
    says: /quality/,
  },
  'does not notice that the device goes': {
    file: 'my-rng-pci.c',
    edit: ['\tWRITE_ONCE(rng->gone, true);\n\twake_up_all', '\twake_up_all'],
    check: 'unbind-in-use',
    says: /./,
  },
  'keeps the memory of a file': {
    file: 'my-rng-file.c',
    edit: ['\tkfree(f->buffer);\n\tkfree(f);', '\tkfree(f);'],
    check: 'reload',
    says: /does not give all memory back/,
  },
  'touches whatever is at its address': {
    file: 'my-rng-fixed.c',
    edit: ['if (pci_resource_start(pdev, MY_RNG_BAR) != base)', 'if (base == 1)'],
    check: 'base-wrong',
    says: /insmod succeeded|does not say why/,
  },
  'knows one address only': {
    file: 'my-rng-fixed.c',
    edit: [
      'module_param(base, ullong, 0444);',
      'static unsigned long long other;\nmodule_param_named(base, other, ullong, 0444);',
    ],
    check: 'base-parameter',
    says: /counted is not as expected/,
  },
};

/** One machine: each mutant takes the place of our modules in it, and is taken out again. */
describe('my-rng, variant further', () => {
  let work: string;

  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'lab-mutants-'));
    await up();
  });

  afterAll(async () => {
    await rm(work, { recursive: true, force: true });
  });

  test('every check passes, with proof', async () => {
    const { code, stdout } = await lab('test', 'my-rng', '--name', 'further', '--json');
    const { checks } = JSON.parse(stdout) as Report;
    expect(checks.filter(({ outcome }) => outcome !== 'passed' && outcome !== 'skipped')).toEqual([]);
    expect(checks.filter(({ outcome, proof }) => outcome === 'passed' && proof.length === 0)).toEqual([]);
    expect(checks.filter(({ outcome }) => outcome === 'passed').length).toBeGreaterThan(20);
    expect(code).toBe(0);
  });

  test('a running machine of this variant is not the one that another variant is tested on', async () => {
    const { stdout } = await lab('test', 'my-rng', '--variant', 'module', '--list');
    expect(stdout).toContain('seed-known');
    expect((await lab('test', 'my-rng', '--variant', 'further', '--list')).stdout).toContain('paths-msi');
  });

  test.each(Object.entries(MUTANTS))('a driver that %s is caught', async (name, mutant) => {
    await build(name, mutant);
    // One that spoilt the kernel cannot be taken out again: then the machine is started anew.
    if (!(await replaced(folderOf(name)))) {
      await lab('down', '--all', '--force');
      await up();
      expect(await replaced(folderOf(name))).toBe(true);
    }
    const filter = ['--filter', mutant.check];
    const { code, stdout } = await lab('test', 'my-rng', '--name', 'further', '--json', ...filter);
    expect(code, stdout).toBe(1);
    const verdict = (JSON.parse(stdout) as Report).checks.find(({ id }) => id === mutant.check);
    expect(['failed', 'crashed', 'timed-out'], stdout).toContain(verdict?.outcome);
    expect(`${verdict?.fact} ${verdict?.evidence.join(' ')} ${verdict?.hint}`).toMatch(mutant.says);
  });

  /** kbuild takes no blanks. */
  const folderOf = (name: string) => join(work, name.replaceAll(' ', '-'));

  async function up(): Promise<void> {
    const { code, stderr } = await lab('up', ...MACHINE);
    expect(code, stderr).toBe(0);
  }

  async function replaced(folder: string): Promise<boolean> {
    const unload = (name: string) => `{ [ ! -d /sys/module/${name} ] || rmmod ${name}; }`;
    const swap = `${unload('my_rng_pci')} && ${unload('my_rng_fixed')} && insmod /opt/lab/my_rng_pci.ko`;
    for (const name of ['my_rng_pci', 'my_rng_fixed']) {
      const { code } = await lab('cp', '-m', 'further', join(folder, `${name}.ko`), `:/opt/lab/${name}.ko`);
      if (code !== 0) return false;
    }
    return (await lab('exec', '-m', 'further', '--', 'sh', '-c', swap)).code === 0;
  }

  async function build(name: string, { file, edit: [from, to] }: Mutant): Promise<void> {
    const dir = folderOf(name);
    await cp(sources, dir, { recursive: true });
    const text = await readFile(join(dir, file), 'utf8');
    expect(text.split(from).length, `how often ${file} has what "${name}" replaces, and one`).toBe(2);
    await writeFile(join(dir, file), text.replace(from, to));
    const options = ['-C', await kbuildOf(), `M=${dir}`, 'modules'];
    const { status, stderr } = spawnSync('make', options, { encoding: 'utf8' });
    expect(status, stderr).toBe(0);
  }

  /** Kernel image and build tree lie in one artifact; QEMU's command line names the image. */
  async function kbuildOf(): Promise<string> {
    const script = await readFile(join(state(), 'machines/further/qemu.sh'), 'utf8');
    return join(dirname(/ -kernel (\S+)/.exec(script)?.[1] ?? ''), 'kbuild');
  }
});
