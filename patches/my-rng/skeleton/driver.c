// SPDX-License-Identifier: GPL-2.0
/*
 * Driver of the my_rng PCI device
 *
 * The character device my_rng_driver, major 250, has two commands. The argument
 * of each is the user address of an unsigned int:
 *
 *   _IOR('q', 1, unsigned int)  get the next random number
 *   _IOW('q', 1, unsigned int)  seed the generator
 *
 * Any other command fails with ENOTTY. A bad address fails with EFAULT, and
 * nothing else happens.
 */

#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/ioctl.h>
#include <linux/module.h>
#include <linux/types.h>

#define MY_RNG_NAME		"my_rng_driver"
#define MY_RNG_MAJOR		250

#define MY_RNG_IOC_GET		_IOR('q', 1, unsigned int)
#define MY_RNG_IOC_SEED		_IOW('q', 1, unsigned int)

/* Registers of the device, offsets in BAR 0. */
#define MY_RNG_REG_RNG		0x0
#define MY_RNG_REG_SEED		0x4

/* TODO: where the registers of the device are mapped */

static long my_rng_get(u32 __user *slot)
{
	/* TODO: read RNG and copy the number to the user */
	return -ENOTTY;
}

static long my_rng_seed(const u32 __user *slot)
{
	/* TODO: copy the seed from the user and write it to SEED */
	return -ENOTTY;
}

static long my_rng_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *slot = (void __user *)arg;

	switch (cmd) {
	case MY_RNG_IOC_GET:
		return my_rng_get(slot);
	case MY_RNG_IOC_SEED:
		return my_rng_seed(slot);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations my_rng_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = my_rng_ioctl,
};

static int __init my_rng_init(void)
{
	int ret;

	/* TODO: find the device and map its registers */

	ret = register_chrdev(MY_RNG_MAJOR, MY_RNG_NAME, &my_rng_fops);
	if (ret)
		return ret;

	/* TODO: say in the kernel log that the driver is loaded */
	return 0;
}
module_init(my_rng_init);

static void __exit my_rng_exit(void)
{
	unregister_chrdev(MY_RNG_MAJOR, MY_RNG_NAME);
	/* TODO: undo the rest, and say that the driver is unloaded */
}
module_exit(my_rng_exit);

MODULE_DESCRIPTION("Driver of the my_rng PCI device");
MODULE_LICENSE("GPL");
