// SPDX-License-Identifier: GPL-2.0
/*
 * Driver of one my_rng PCI device, QEMU's random number generator for teaching,
 * that is told where the registers are instead of finding out
 *
 * The address is a constant, that of the exercise's machine, or the parameter:
 *
 *   insmod my_rng_fixed.ko base=0xfebf1000
 *
 * with the address that "lspci -v" shows for the device. To programs it is the
 * same as my_rng.ko: the character device my_rng_driver, major 250, minor 0, and
 *
 *   _IOR('q', 1, unsigned int)  get the next random number
 *   _IOW('q', 1, unsigned int)  seed the generator
 *
 * What lies at a wrong address is some other device's register or the memory of
 * the machine. So the kernel is asked what it knows of the address, and nothing
 * is touched unless a my_rng is there that no other driver uses. Nobody tells
 * this driver when the device goes: that is what a pci_driver is for.
 */

#include <linux/cdev.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/kdev_t.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/types.h>
#include <linux/uaccess.h>

#include "my-rng.h"

#undef pr_fmt
#define pr_fmt(format)		"my_rng_fixed: " format

#define MY_RNG_NAME		"my_rng_driver"
#define MY_RNG_MAJOR		250
#define MY_RNG_BASE		0xfebf1000

#define MY_RNG_VENDOR_ID	0x1234
#define MY_RNG_DEVICE_ID	0xcafe
#define MY_RNG_BAR		0
#define MY_RNG_BAR_SIZE		0x1000
#define MY_RNG_REG_RNG		0x0
#define MY_RNG_REG_SEED		0x4

static unsigned long long base = MY_RNG_BASE;
module_param(base, ullong, 0444);
MODULE_PARM_DESC(base, "Physical address of the registers (default: 0xfebf1000)");

static void __iomem *my_rng_regs;
static struct cdev my_rng_cdev;

/* Keeps accesses in order; guards what follows. */
static DEFINE_MUTEX(my_rng_lock);
static bool my_rng_undelivered;
static u32 my_rng_number;

/*
 * A number that cannot be delivered is kept for the next reader. Only the copy
 * itself can tell whether an address is good, and then the number has been read.
 */
static long my_rng_get(u32 __user *slot)
{
	if (!my_rng_undelivered)
		my_rng_number = readl(my_rng_regs + MY_RNG_REG_RNG);
	my_rng_undelivered = copy_to_user(slot, &my_rng_number,
					  sizeof(my_rng_number));
	return my_rng_undelivered ? -EFAULT : 0;
}

static long my_rng_seed(const u32 __user *slot)
{
	u32 seed;

	if (copy_from_user(&seed, slot, sizeof(seed)))
		return -EFAULT;
	writel(seed, my_rng_regs + MY_RNG_REG_SEED);
	my_rng_undelivered = false;
	return 0;
}

static long my_rng_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *slot = (void __user *)arg;
	long ret = -ENOTTY;

	if (mutex_lock_interruptible(&my_rng_lock))
		return -ERESTARTSYS;
	if (cmd == MY_RNG_IOC_GET)
		ret = my_rng_get(slot);
	else if (cmd == MY_RNG_IOC_SEED)
		ret = my_rng_seed(slot);
	mutex_unlock(&my_rng_lock);
	return ret;
}

static const struct file_operations my_rng_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = my_rng_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static bool my_rng_answers(struct pci_dev *pdev)
{
	u16 command;

	pci_read_config_word(pdev, PCI_COMMAND, &command);
	if (command & PCI_COMMAND_MEMORY)
		return true;
	pr_err("the my_rng %s is at 0x%llx, but its memory is switched off\n",
	       pci_name(pdev), base);
	return false;
}

/* What the kernel knows of the address; for a wrong one, where devices are. */
static int my_rng_check(void)
{
	struct pci_dev *pdev = NULL;
	int ret = -ENODEV;

	while ((pdev = pci_get_device(MY_RNG_VENDOR_ID, MY_RNG_DEVICE_ID, pdev))) {
		if (pci_resource_start(pdev, MY_RNG_BAR) != base)
			continue;
		if (my_rng_answers(pdev))
			ret = 0;
		pci_dev_put(pdev);
		return ret;
	}

	pr_err("there is no my_rng at 0x%llx\n", base);
	while ((pdev = pci_get_device(MY_RNG_VENDOR_ID, MY_RNG_DEVICE_ID, pdev)))
		pr_err("the my_rng %s is at 0x%llx\n", pci_name(pdev),
		       (u64)pci_resource_start(pdev, MY_RNG_BAR));
	return ret;
}

static int my_rng_map(void)
{
	int ret = my_rng_check();

	if (ret)
		return ret;
	if (!request_mem_region(base, MY_RNG_BAR_SIZE, MY_RNG_NAME)) {
		pr_err("another driver uses the registers at 0x%llx\n", base);
		return -EBUSY;
	}
	my_rng_regs = ioremap(base, MY_RNG_BAR_SIZE);
	if (my_rng_regs)
		return 0;
	release_mem_region(base, MY_RNG_BAR_SIZE);
	return -ENOMEM;
}

static void my_rng_unmap(void)
{
	iounmap(my_rng_regs);
	release_mem_region(base, MY_RNG_BAR_SIZE);
}

static int __init my_rng_init(void)
{
	const dev_t number = MKDEV(MY_RNG_MAJOR, 0);
	int ret;

	ret = my_rng_map();
	if (ret)
		return ret;
	ret = register_chrdev_region(number, 1, MY_RNG_NAME);
	if (ret) {
		pr_err("cannot register major number %d: error %d\n",
		       MY_RNG_MAJOR, ret);
		goto unmap;
	}

	cdev_init(&my_rng_cdev, &my_rng_fops);
	my_rng_cdev.owner = THIS_MODULE;
	ret = cdev_add(&my_rng_cdev, number, 1);
	if (ret)
		goto unregister;
	pr_info("loaded, registers at 0x%llx\n", base);
	return 0;

unregister:
	unregister_chrdev_region(number, 1);
unmap:
	my_rng_unmap();
	return ret;
}
module_init(my_rng_init);

static void __exit my_rng_exit(void)
{
	cdev_del(&my_rng_cdev);
	unregister_chrdev_region(MKDEV(MY_RNG_MAJOR, 0), 1);
	my_rng_unmap();
	pr_info("unloaded\n");
}
module_exit(my_rng_exit);

MODULE_DESCRIPTION("Driver of a my_rng PCI device whose address it is told");
MODULE_VERSION("1.0");
MODULE_LICENSE("GPL");
