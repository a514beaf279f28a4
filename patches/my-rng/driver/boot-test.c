// SPDX-License-Identifier: GPL-2.0
/*
 * Boot test of the my_rng PCI device: inserted into init/main.c before
 * kernel_init(), which calls it after do_sysctl_args().
 */
#include <linux/pci.h>

#define MY_RNG_TEST_REG_RNG	0x0
#define MY_RNG_TEST_REG_SEED	0x4
#define MY_RNG_TEST_REGS_SIZE	0x8
#define MY_RNG_TEST_SEED	0x42
#define MY_RNG_TEST_ROUNDS	2
#define MY_RNG_TEST_NUMBERS	5

static void my_rng_test_rounds(void __iomem *regs)
{
	int round, i;

	for (round = 1; round <= MY_RNG_TEST_ROUNDS; round++) {
		iowrite32(MY_RNG_TEST_SEED, regs + MY_RNG_TEST_REG_SEED);
		for (i = 1; i <= MY_RNG_TEST_NUMBERS; i++)
			pr_info("Round %d number %d: %u\n", round, i,
				ioread32(regs + MY_RNG_TEST_REG_RNG));
	}
}

static void my_rng_test_device(struct pci_dev *pdev)
{
	void __iomem *regs = pci_iomap(pdev, 0, MY_RNG_TEST_REGS_SIZE);

	if (!regs) {
		pr_err("my_rng: cannot map BAR 0\n");
		return;
	}
	my_rng_test_rounds(regs);
	pci_iounmap(pdev, regs);
}

/* The device is found by its identity: firmware chooses the address of BAR 0. */
static void my_rng_boot_test(void)
{
	struct pci_dev *pdev = pci_get_device(0x1234, 0xcafe, NULL);

	pr_info("BEGIN MY-RNG TEST\n");
	if (!pdev) {
		pr_err("my_rng: no PCI device 1234:cafe\n");
	} else if (pci_enable_device_mem(pdev)) {
		pr_err("my_rng: cannot enable the device\n");
	} else {
		my_rng_test_device(pdev);
		pci_disable_device(pdev);
	}
	pr_info("END MY-RNG TEST\n");
	pci_dev_put(pdev);
}
