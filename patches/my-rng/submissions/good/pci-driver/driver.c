// SPDX-License-Identifier: GPL-2.0
/*
 * Character device for the my_rng PCI device of QEMU, found by its identity
 */
#include <linux/cdev.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/ioctl.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/uaccess.h>

#define DEVICE_NAME "my_rng_driver"
#define REG_RNG 0x0
#define REG_SEED 0x4

#define MY_RNG_IOCTL_RAND _IOR('q', 1, unsigned int)
#define MY_RNG_IOCTL_SEED _IOW('q', 1, unsigned int)

static void __iomem *registers;
static dev_t number_of_node;
static struct cdev my_rng_cdev;
static DEFINE_MUTEX(my_rng_mutex);

static long my_rng_rand(u32 __user *to)
{
	return put_user(ioread32(registers + REG_RNG), to);
}

static long my_rng_seed(const u32 __user *from)
{
	u32 seed;

	if (get_user(seed, from))
		return -EFAULT;
	iowrite32(seed, registers + REG_SEED);
	return 0;
}

static long my_rng_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	long ret = -ENOTTY;

	if (mutex_lock_interruptible(&my_rng_mutex))
		return -ERESTARTSYS;
	if (cmd == MY_RNG_IOCTL_RAND)
		ret = my_rng_rand((u32 __user *)arg);
	else if (cmd == MY_RNG_IOCTL_SEED)
		ret = my_rng_seed((const u32 __user *)arg);
	mutex_unlock(&my_rng_mutex);
	return ret;
}

static const struct file_operations my_rng_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = my_rng_ioctl,
};

static int my_rng_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	registers = pcim_iomap(pdev, 0, 0);
	if (!registers)
		return -ENOMEM;

	ret = alloc_chrdev_region(&number_of_node, 0, 1, DEVICE_NAME);
	if (ret)
		return ret;
	cdev_init(&my_rng_cdev, &my_rng_fops);
	ret = cdev_add(&my_rng_cdev, number_of_node, 1);
	if (ret) {
		unregister_chrdev_region(number_of_node, 1);
		return ret;
	}
	dev_info(&pdev->dev, "%s: major number %d\n", DEVICE_NAME,
		 MAJOR(number_of_node));
	return 0;
}

static void my_rng_remove(struct pci_dev *pdev)
{
	cdev_del(&my_rng_cdev);
	unregister_chrdev_region(number_of_node, 1);
}

static const struct pci_device_id my_rng_ids[] = {
	{ PCI_DEVICE(0x1234, 0xcafe) },
	{ }
};
MODULE_DEVICE_TABLE(pci, my_rng_ids);

static struct pci_driver my_rng_pci_driver = {
	.name = DEVICE_NAME,
	.id_table = my_rng_ids,
	.probe = my_rng_probe,
	.remove = my_rng_remove,
};
module_pci_driver(my_rng_pci_driver);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("A. Student");
MODULE_DESCRIPTION("my_rng driver");
