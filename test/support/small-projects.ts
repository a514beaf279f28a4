import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { SourceTree } from '../../src/build/worktree.js';

const FIRMWARE = [
  ...['bios.bin', 'bios-256k.bin', 'bios-microvm.bin', 'vgabios.bin', 'vgabios-stdvga.bin', 'kvmvapic.bin'],
  ...['linuxboot.bin', 'linuxboot_dma.bin', 'multiboot.bin', 'multiboot_dma.bin', 'pvh.bin', 'qboot.rom'],
  ...['efi-e1000.rom', 'efi-virtio.rom'],
];

/** Builds like QEMU, in a second: configure writes build.ninja, which compiles programs of two C files. */
export async function smallQemu(dir: string): Promise<SourceTree> {
  await put(dir, {
    configure: `#!/bin/sh
echo "configured with $*"
cat > build.ninja <<END
rule cc
  command = gcc -Wall -MMD -MF \\$out.d -c \\$in -o \\$out
  depfile = \\$out.d
rule ld
  command = gcc \\$in -o \\$out
build hw_misc_my-rng.c.o: cc ../src/hw/misc/my-rng.c
build main.c.o: cc ../src/main.c
build qemu-system-x86_64: ld main.c.o hw_misc_my-rng.c.o
build qemu-img: ld main.c.o hw_misc_my-rng.c.o
END
`,
    'main.c': 'int my_rng(void);\nint main(void) { return my_rng(); }\n',
    'meson.build': "project('small', meson_version: '>=0.1')\n",
    'python/wheels/meson-1.0.0-py3-none-any.whl': '',
    'hw/misc/my-rng.c': 'int my_rng(void) { return 0; }\n',
    'hw/Kconfig': 'config TULIP\n    bool\n',
    'Kconfig.host': '',
    'target/Kconfig': '',
    'accel/Kconfig': '',
    'backends/Kconfig': '',
    'semihosting/Kconfig': '',
    'configs/devices/x86_64-softmmu/default.mak': '',
    ...Object.fromEntries(FIRMWARE.map((name) => [`pc-bios/${name}`, name])),
  });
  await chmod(join(dir, 'configure'), 0o755);
  return { project: 'qemu', version: '1.2.3', digest: dir, tree: dir, origin: { kind: 'upstream' } };
}

/** Builds like Linux, in a second: one C file is the kernel, and symbols called VANISHES do not survive. */
export async function smallLinux(dir: string): Promise<SourceTree> {
  await put(dir, {
    Makefile: `release := 6.6.6-small
modules_dir := $(INSTALL_MOD_PATH)/lib/modules/$(release)
ifneq ($(M),)
modules:
	@echo '  CC [M]  $(M)/my_rng.o'
	@gcc -Wall -Werror $(KCFLAGS) -c $(M)/my_rng.c -o $(M)/my_rng.o
	@mv $(M)/my_rng.o $(M)/my_rng.ko
else
allnoconfig alldefconfig:
	@grep -v VANISHES $(KCONFIG_ALLCONFIG) > $(O)/.config
	@for s in $$(sed -n 's/^config //p' drivers/misc/Kconfig); do \\
	  grep -q "CONFIG_$$s" $(O)/.config || echo "# CONFIG_$$s is not set" >> $(O)/.config; done
olddefconfig:
	@for s in $$(sed -n 's/^config //p' drivers/misc/Kconfig); do \\
	  grep -q "CONFIG_$$s" $(O)/.config || echo "CONFIG_$$s=y" >> $(O)/.config; done
bzImage: $(O)/vmlinux
	@mkdir -p $(O)/arch/x86/boot $(O)/include/config
	@cp $(O)/vmlinux $(O)/arch/x86/boot/bzImage
	@echo $(release) > $(O)/include/config/kernel.release
$(O)/vmlinux: drivers/misc/my-rng.c
	@echo '  CC      drivers/misc/my-rng.o'
	@gcc -Wall -g $(CURDIR)/$< -o $@
modules:
	@echo '  CC [M]  drivers/block/nbd.o'
modules_install:
	@mkdir -p $(modules_dir)
	@ln -s $(O) $(modules_dir)/build
	@touch $(modules_dir)/nbd.ko
endif
`,
    Kbuild: '',
    'arch/x86/Makefile': '',
    'arch/x86/configs/x86_64_defconfig': 'CONFIG_FROM_DEFCONFIG=y\n',
    'drivers/misc/Kconfig': '',
    'drivers/misc/my-rng.c': 'int main(void) { return 0; }\n',
    'include/linux/module.h': '',
    'include/dt-bindings/x.h': '',
    'scripts/mkcompile_h': '',
  });
  return { project: 'linux', version: '6.6.6', digest: dir, tree: dir, origin: { kind: 'upstream' } };
}

async function put(dir: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), text);
  }
}
