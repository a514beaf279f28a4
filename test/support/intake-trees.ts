import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Trees } from '../../src/intake/trees.js';

const lines = (count: number, line: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => `${line(i)}\n`).join('');

export const qemuFiles: Readonly<Record<string, string>> = {
  MAINTAINERS: 'QEMU maintainers\n',
  Kconfig: 'source hw/Kconfig\n',
  'meson.build': "project('qemu')\nsubdir('hw')\n",
  'hw/misc/Kconfig': lines(10, (i) => `config DEV${i}\n    bool\n`),
  'hw/misc/meson.build': lines(
    12,
    (i) => `system_ss.add(when: 'CONFIG_DEV${i}', if_true: files('dev${i}.c'))`,
  ),
  'hw/misc/edu.c': lines(60, (i) => `int edu_${i};`),
  'hw/pci/pci.c': lines(20, (i) => `int pci_${i};`),
  'include/hw/misc/edu.h': '#define EDU 1\n',
  'tests/unit/meson.build': lines(10, (i) => `test_${i}`),
  'scripts/checkpatch.pl': 'print 1;\n',
};

const kernelInit = `static int __ref kernel_init(void *unused)
{
	int ret;

	wait_for_completion(&kthreadd_done);
	rcu_end_inkernel_boot();

	do_sysctl_args();

	if (ramdisk_execute_command) {
		ret = run_init_process(ramdisk_execute_command);
		if (!ret)
			return 0;
	}
	panic("No working init found.");
}
`;

export const linuxFiles: Readonly<Record<string, string>> = {
  MAINTAINERS: 'Linux maintainers\n',
  Makefile: 'VERSION = 6\n',
  'drivers/Makefile': 'obj-y += misc/\n',
  'drivers/misc/Kconfig': `menu "Misc devices"\n\n${lines(10, (i) => `config MISC${i}\n\ttristate "misc ${i}"\n`)}source "drivers/misc/cxl/Kconfig"\nendmenu\n`,
  'drivers/misc/Makefile': lines(15, (i) => `obj-$(CONFIG_MISC${i})\t+= misc${i}.o`),
  'drivers/misc/misc0.c': 'int misc0;\n',
  'drivers/char/mem.c': lines(30, (i) => `int mem_${i};`),
  'init/main.c': `#include <linux/module.h>\n\n${lines(30, (i) => `void setup_${i}(void) { start_kernel(${i}); }`)}\n${kernelInit}\n${lines(10, (i) => `int tail_${i};`)}`,
  'scripts/checkpatch.pl': 'print 2;\n',
};

export const deviceSource = `#include "qemu/osdep.h"
#include "hw/pci/pci_device.h"

static const TypeInfo my_rng_info = {
    .name = "my_rng",
};
`;

export const driverSource = `#include <linux/module.h>
#include <linux/fs.h>

static const struct file_operations my_rng_fops = { .owner = THIS_MODULE };

module_init(my_rng_init);
MODULE_LICENSE("GPL");
`;

export const applicationSource = `#include <fcntl.h>
#include <sys/ioctl.h>

int main(void)
{
    return ioctl(open("/dev/my_rng_driver", O_RDWR), 1) != 0;
}
`;

/** Writes files, by name, below a folder. */
export async function writeAll(dir: string, files: Readonly<Record<string, string | Buffer>>): Promise<void> {
  for (const [name, data] of Object.entries(files)) {
    await mkdir(dirname(join(dir, name)), { recursive: true });
    await writeFile(join(dir, name), data);
  }
}

/** Small pristine trees below `dir`. */
export async function makeTrees(dir: string): Promise<Trees> {
  await writeAll(join(dir, 'qemu'), qemuFiles);
  await writeAll(join(dir, 'linux'), linuxFiles);
  return {
    qemu: { tree: join(dir, 'qemu'), version: '10.0.13', wanted: '8.2.0-rc2' },
    linux: { tree: join(dir, 'linux'), version: '6.12.117', wanted: '6.6.4' },
  };
}

/** What a student's tree has instead of the pristine one. */
export const qemuWork: Readonly<Record<string, string>> = {
  'hw/misc/my-rng.c': deviceSource,
  'hw/misc/Kconfig': `${qemuFiles['hw/misc/Kconfig']}\nconfig MY_RNG\n    bool\n    default y\n    depends on PCI\n`,
  'hw/misc/meson.build': `${qemuFiles['hw/misc/meson.build']}system_ss.add(when: 'CONFIG_MY_RNG', if_true: files('my-rng.c'))\n`,
};

const bootTest = `	do_sysctl_args();

	{
		void __iomem *mem = ioremap(0xfebf1000, 4096);

		pr_info("BEGIN MY-RNG TEST\\n");
		iounmap(mem);
	}
`;

export const linuxWork: Readonly<Record<string, string>> = {
  'drivers/misc/my-rng.c': driverSource,
  'drivers/misc/Kconfig': (linuxFiles['drivers/misc/Kconfig'] ?? '').replace(
    'source "drivers/misc/cxl',
    'config MY_RNG\n\ttristate "my_rng"\n\tdefault y\n\nsource "drivers/misc/cxl',
  ),
  'drivers/misc/Makefile': `${linuxFiles['drivers/misc/Makefile']}obj-$(CONFIG_MY_RNG)\t+= my-rng.o\n`,
  'init/main.c': (linuxFiles['init/main.c'] ?? '').replace('	do_sysctl_args();\n', bootTest),
};
