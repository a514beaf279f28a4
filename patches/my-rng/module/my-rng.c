// SPDX-License-Identifier: GPL-2.0
/*
 * Driver of the my_rng PCI device, QEMU's random number generator for teaching
 *
 * The character device my_rng_driver, major 250, minor 0, has two commands. The
 * argument of each is the user address of an unsigned int:
 *
 *   _IOR('q', 1, unsigned int)  get the next random number
 *   _IOW('q', 1, unsigned int)  seed the generator
 *
 * Any other command fails with ENOTTY. A bad address fails with EFAULT and
 * changes nothing: the generator is not seeded, and no number is lost.
 *
 * One device is served. While there is none, open() and the commands fail with
 * ENODEV. There is no device class: the node is made with mknod.
 *
 * The same file is drivers/misc/my-rng.c in a kernel tree, built in or as a
 * module, and the source of my_rng.ko outside of it.
 */

#include <linux/cdev.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/ioctl.h>
#include <linux/kdev_t.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/types.h>
#include <linux/uaccess.h>

#define MY_RNG_NAME		"my_rng_driver"
#define MY_RNG_MAJOR		250

#define MY_RNG_IOC_GET		_IOR('q', 1, unsigned int)
#define MY_RNG_IOC_SEED		_IOW('q', 1, unsigned int)

#define MY_RNG_VENDOR_ID	0x1234
#define MY_RNG_DEVICE_ID	0xcafe

#define MY_RNG_BAR		0
#define MY_RNG_REG_RNG		0x0
#define MY_RNG_REG_SEED		0x4
#define MY_RNG_REGS_SIZE	0x8

/**
 * struct my_rng - the one device that is served
 * @lock: guards the other members and keeps accesses to the device in order
 * @regs: the registers; NULL while no device is bound
 * @undelivered: the last number read did not reach its reader
 * @number: the last number read
 */
static struct my_rng {
	struct mutex lock; /* guards all members and the device */
	void __iomem *regs;
	bool undelivered;
	u32 number;
} my_rng = {
	.lock = __MUTEX_INITIALIZER(my_rng.lock),
};

/*
 * A number that cannot be delivered is kept for the next reader. Only the copy
 * itself can tell whether an address is good, and then the number has been read.
 */
static long my_rng_get(u32 __user *slot)
{
	if (!my_rng.undelivered)
		my_rng.number = ioread32(my_rng.regs + MY_RNG_REG_RNG);

	my_rng.undelivered = copy_to_user(slot, &my_rng.number,
					  sizeof(my_rng.number));
	return my_rng.undelivered ? -EFAULT : 0;
}

static long my_rng_seed(const u32 __user *slot)
{
	u32 seed;

	if (copy_from_user(&seed, slot, sizeof(seed)))
		return -EFAULT;

	iowrite32(seed, my_rng.regs + MY_RNG_REG_SEED);
	my_rng.undelivered = false;
	return 0;
}

static long my_rng_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *slot = (void __user *)arg;
	long ret;

	if (mutex_lock_interruptible(&my_rng.lock))
		return -ERESTARTSYS;

	if (!my_rng.regs)
		ret = -ENODEV;
	else if (cmd == MY_RNG_IOC_GET)
		ret = my_rng_get(slot);
	else if (cmd == MY_RNG_IOC_SEED)
		ret = my_rng_seed(slot);
	else
		ret = -ENOTTY;

	mutex_unlock(&my_rng.lock);
	return ret;
}

static int my_rng_open(struct inode *inode, struct file *file)
{
	/* The device may still go away later: every command looks again. */
	return READ_ONCE(my_rng.regs) ? 0 : -ENODEV;
}

static const struct file_operations my_rng_fops = {
	.owner = THIS_MODULE,
	.open = my_rng_open,
	.unlocked_ioctl = my_rng_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

/* Publish @regs unless another device is served already. */
static int my_rng_bind(void __iomem *regs)
{
	int ret = -EBUSY;

	mutex_lock(&my_rng.lock);
	if (!my_rng.regs) {
		my_rng.undelivered = false;
		WRITE_ONCE(my_rng.regs, regs);
		ret = 0;
	}
	mutex_unlock(&my_rng.lock);
	return ret;
}

static int my_rng_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	void __iomem *regs;
	int ret;

	if (pci_resource_len(pdev, MY_RNG_BAR) < MY_RNG_REGS_SIZE)
		return -ENODEV;

	ret = pci_enable_device_mem(pdev);
	if (ret)
		return ret;

	ret = pci_request_region(pdev, MY_RNG_BAR, MY_RNG_NAME);
	if (ret)
		goto disable;

	ret = -ENOMEM;
	regs = pci_iomap(pdev, MY_RNG_BAR, MY_RNG_REGS_SIZE);
	if (!regs)
		goto release;

	ret = my_rng_bind(regs);
	if (ret)
		goto unmap;

	return 0;

unmap:
	pci_iounmap(pdev, regs);
release:
	pci_release_region(pdev, MY_RNG_BAR);
disable:
	pci_disable_device(pdev);
	return ret;
}

static void my_rng_remove(struct pci_dev *pdev)
{
	void __iomem *regs;

	/* Waits for the command that runs; none touches the registers later. */
	mutex_lock(&my_rng.lock);
	regs = my_rng.regs;
	WRITE_ONCE(my_rng.regs, NULL);
	mutex_unlock(&my_rng.lock);

	pci_iounmap(pdev, regs);
	pci_release_region(pdev, MY_RNG_BAR);
	pci_disable_device(pdev);
}

static const struct pci_device_id my_rng_ids[] = {
	{ PCI_DEVICE(MY_RNG_VENDOR_ID, MY_RNG_DEVICE_ID) },
	{ }
};
MODULE_DEVICE_TABLE(pci, my_rng_ids);

static struct pci_driver my_rng_pci_driver = {
	.name = MY_RNG_NAME,
	.id_table = my_rng_ids,
	.probe = my_rng_probe,
	.remove = my_rng_remove,
};

static struct cdev my_rng_cdev;

static int __init my_rng_init(void)
{
	const dev_t number = MKDEV(MY_RNG_MAJOR, 0);
	int ret;

	ret = register_chrdev_region(number, 1, MY_RNG_NAME);
	if (ret) {
		pr_err("%s: cannot register major number %d: error %d\n",
		       MY_RNG_NAME, MY_RNG_MAJOR, ret);
		return ret;
	}

	cdev_init(&my_rng_cdev, &my_rng_fops);
	my_rng_cdev.owner = THIS_MODULE;
	ret = cdev_add(&my_rng_cdev, number, 1);
	if (ret)
		goto unregister;

	ret = pci_register_driver(&my_rng_pci_driver);
	if (ret)
		goto delete;

	pr_info("%s loaded, registered ioctls 0x%x (get a random number) and 0x%x (seed the generator)\n",
		MY_RNG_NAME, (unsigned int)MY_RNG_IOC_GET,
		(unsigned int)MY_RNG_IOC_SEED);
	return 0;

delete:
	cdev_del(&my_rng_cdev);
unregister:
	unregister_chrdev_region(number, 1);
	return ret;
}
module_init(my_rng_init);

static void __exit my_rng_exit(void)
{
	cdev_del(&my_rng_cdev);
	pci_unregister_driver(&my_rng_pci_driver);
	unregister_chrdev_region(MKDEV(MY_RNG_MAJOR, 0), 1);
	pr_info("%s unloaded\n", MY_RNG_NAME);
}
module_exit(my_rng_exit);

MODULE_DESCRIPTION("Driver of the my_rng PCI device, a random number generator for teaching");
MODULE_VERSION("1.0");
MODULE_LICENSE("GPL");
