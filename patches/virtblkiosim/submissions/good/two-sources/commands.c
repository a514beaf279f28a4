/* The ioctls: blocks of 1 KiB, one after the other. */
#include <linux/ioctl.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "simdisk.h"

static char *next_block(unsigned long *counter)
{
	char *at = simdisk.data + *counter * BLOCK_BYTES;

	*counter = (*counter + 1) % (DISK_BYTES / BLOCK_BYTES);
	return at;
}

static int start_over(void)
{
	spin_lock(&simdisk.lock);
	simdisk.reader = 0;
	simdisk.writer = 0;
	spin_unlock(&simdisk.lock);
	return 0;
}

static int give(void __user *to)
{
	char *block = kmalloc(BLOCK_BYTES, GFP_KERNEL);
	int ret = 0;

	if (!block)
		return -ENOMEM;
	spin_lock(&simdisk.lock);
	memcpy(block, next_block(&simdisk.reader), BLOCK_BYTES);
	spin_unlock(&simdisk.lock);
	if (copy_to_user(to, block, BLOCK_BYTES))
		ret = -EFAULT;
	kfree(block);
	return ret;
}

static int take(const void __user *from)
{
	char *block = memdup_user(from, BLOCK_BYTES);

	if (IS_ERR(block))
		return PTR_ERR(block);
	spin_lock(&simdisk.lock);
	memcpy(next_block(&simdisk.writer), block, BLOCK_BYTES);
	spin_unlock(&simdisk.lock);
	kfree(block);
	return 0;
}

int simdisk_ioctl(struct block_device *bdev, blk_mode_t mode,
		  unsigned int cmd, unsigned long arg)
{
	static const char *const way[] = { "_IOC_NONE", "_IOC_WRITE", "_IOC_READ", "both" };
	void __user *user = (void __user *)arg;
	unsigned long size = BLOCK_BYTES;

	pr_info(DISK_NAME ": ioctl %s, size 0x%x, magic '%c', number 0x%x\n",
		way[_IOC_DIR(cmd)], _IOC_SIZE(cmd), _IOC_TYPE(cmd), _IOC_NR(cmd));
	switch (cmd) {
	case _IO('q', 0):
		return start_over();
	case _IOR('q', 1, unsigned long):
		return copy_to_user(user, &size, sizeof(size)) ? -EFAULT : 0;
	case _IOR('q', 2, unsigned long):
		return give(user);
	case _IOW('q', 3, unsigned long):
		return take(user);
	}
	return -ENOTTY;
}
