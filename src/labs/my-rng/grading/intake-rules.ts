import type { IntakeRules } from '../../../intake/rules.js';

/** What a hand-in of my-rng may touch, and how its parts are told from each other. */
export const intakeRules: IntakeRules = {
  projects: {
    qemu: {
      title: 'QEMU',
      allowed: [
        'hw/misc/**',
        'include/hw/misc/**',
        'hw/pci/pci-ids*',
        'include/hw/pci/pci*.h',
        'docs/**',
        'MAINTAINERS',
        'configs/devices/*-softmmu/*.mak',
        '.gitignore',
      ],
      homes: ['hw/misc', 'include/hw/misc'],
      source: {
        path: 'hw/misc/my-rng.c',
        marks: [/\bTypeInfo\b/, /\bPCIDeviceClass\b/, /#\s*include\s*[<"]qemu\/osdep\.h[>"]/],
      },
      buildFiles: [
        {
          path: 'hw/misc/Kconfig',
          syntax: 'kconfig',
          concerns: /my[-_]?rng/i,
          where: 'end',
          usual: '\nconfig MY_RNG\n    bool\n    default y if PCI_DEVICES\n    depends on PCI\n',
        },
        {
          path: 'hw/misc/meson.build',
          syntax: 'statements',
          concerns: /my[-_]?rng/i,
          where: 'end',
          usual: "system_ss.add(when: 'CONFIG_MY_RNG', if_true: files('my-rng.c'))\n",
        },
      ],
      wholeFiles: [],
    },
    linux: {
      title: 'Linux',
      allowed: [
        'drivers/misc/**',
        'drivers/char/**',
        'include/linux/*rng*.h',
        'include/linux/pci_ids.h',
        'include/uapi/linux/**',
        'init/**',
        'Documentation/**',
        'samples/**',
        'MAINTAINERS',
        'arch/x86/configs/**',
        '.gitignore',
      ],
      homes: ['drivers/misc', 'drivers/char', 'init'],
      source: {
        path: 'drivers/misc/my-rng.c',
        marks: [
          /\b(module_init|device_initcall|module_pci_driver|module_exit)\s*\(/,
          /\bunlocked_ioctl\b/,
          /\bstruct\s+(file_operations|pci_driver|cdev|miscdevice)\b/,
        ],
      },
      buildFiles: [
        {
          path: 'drivers/misc/Kconfig',
          syntax: 'kconfig',
          concerns: /my[-_]?rng/i,
          where: { before: 'endmenu' },
          usual: 'config MY_RNG\n\ttristate "my_rng driver"\n\tdepends on PCI\n\tdefault y\n\n',
        },
        {
          path: 'drivers/misc/Makefile',
          syntax: 'statements',
          concerns: /my[-_]?rng/i,
          where: 'end',
          usual: 'obj-$(CONFIG_MY_RNG)\t\t+= my-rng.o\n',
        },
      ],
      wholeFiles: [
        {
          path: 'init/main.c',
          marks: [/\bkernel_init\s*\(/, /\bstart_kernel\s*\(/],
          most: 60,
          concerns:
            /my[-_]?rng|ioremap|iounmap|ioread|iowrite|__iomem|0xfeb[0-9a-f]|include <(linux|asm)\/(io|delay|pci|uaccess)\.h>/i,
          inside: 'kernel_init',
        },
      ],
    },
  },
  application: { name: 'my-app.c', marks: [/\/dev\/\w*rng/i, /\bioctl\s*\(/] },
  module: { object: 'my_rng.o', source: 'my-rng.c' },
};
