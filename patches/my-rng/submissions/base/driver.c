// SPDX-License-Identifier: GPL-2.0
/*
 * Character device for the my_rng PCI device of QEMU
 */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/ioctl.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/uaccess.h>

#define DEVICE_NAME "my_rng_driver"
#define MAJOR_NUM 250
#define MY_RNG_BASE 0xfebf1000
#define MY_RNG_SIZE 4096
#define REG_RNG 0x0
#define REG_SEED 0x4

#define MY_RNG_IOCTL_RAND _IOR('q', 1, unsigned int)
#define MY_RNG_IOCTL_SEED _IOW('q', 1, unsigned int)

static void __iomem *devmem;
static DEFINE_MUTEX(my_rng_mutex);

static long get_random_number(unsigned long arg)
{
	unsigned int number;

	number = ioread32(devmem + REG_RNG);
	if (copy_to_user((unsigned int __user *)arg, &number, sizeof(number)))
		return -EFAULT;
	return 0;
}

static long set_seed(unsigned long arg)
{
	unsigned int seed;

	if (copy_from_user(&seed, (unsigned int __user *)arg, sizeof(seed)))
		return -EFAULT;
	iowrite32(seed, devmem + REG_SEED);
	return 0;
}

static long my_rng_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	long ret;

	mutex_lock(&my_rng_mutex);
	switch (cmd) {
	case MY_RNG_IOCTL_RAND:
		ret = get_random_number(arg);
		break;
	case MY_RNG_IOCTL_SEED:
		ret = set_seed(arg);
		break;
	default:
		ret = -ENOTTY;
	}
	mutex_unlock(&my_rng_mutex);
	return ret;
}

static int my_rng_open(struct inode *inode, struct file *file)
{
	return 0;
}

static const struct file_operations my_rng_fops = {
	.owner = THIS_MODULE,
	.open = my_rng_open,
	.unlocked_ioctl = my_rng_ioctl,
};

static int __init my_rng_driver_init(void)
{
	int ret;

	devmem = ioremap(MY_RNG_BASE, MY_RNG_SIZE);
	if (!devmem) {
		pr_err("%s: cannot map the registers\n", DEVICE_NAME);
		return -ENOMEM;
	}
	ret = register_chrdev(MAJOR_NUM, DEVICE_NAME, &my_rng_fops);
	if (ret < 0) {
		pr_err("%s: cannot register major %d\n", DEVICE_NAME, MAJOR_NUM);
		iounmap(devmem);
		return ret;
	}
	pr_info("%s loaded, registered ioctls 0x%x (get a random number) and 0x%x (seed the generator)\n",
		DEVICE_NAME, (unsigned int)MY_RNG_IOCTL_RAND,
		(unsigned int)MY_RNG_IOCTL_SEED);
	return 0;
}

static void __exit my_rng_driver_exit(void)
{
	unregister_chrdev(MAJOR_NUM, DEVICE_NAME);
	iounmap(devmem);
	pr_info("%s unloaded\n", DEVICE_NAME);
}

module_init(my_rng_driver_init);
module_exit(my_rng_driver_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("A. Student");
MODULE_DESCRIPTION("my_rng driver");
