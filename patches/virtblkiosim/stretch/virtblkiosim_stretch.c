// SPDX-License-Identifier: GPL-2.0
/*
 * virtblkiosim_stretch: lets requests past the end of a disk reach its driver
 *
 * The block layer refuses them itself, so nobody sees what the driver would do.
 * While this module is loaded the block layer takes the disk for 2 MiB larger
 * than its driver made it. For tests alone.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/blkdev.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/version.h>

static char *node = "/dev/virtblkiosim";
module_param(node, charp, 0444);
MODULE_PARM_DESC(node, "Path of the disk (default /dev/virtblkiosim)");

static sector_t capacity;

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
static struct file *opened;

static struct block_device *open_disk(void)
{
	opened = bdev_file_open_by_path(node, BLK_OPEN_READ, NULL, NULL);
	return IS_ERR(opened) ? ERR_CAST(opened) : file_bdev(opened);
}

static void close_disk(struct block_device *bdev)
{
	fput(opened);
}
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
static struct block_device *open_disk(void)
{
	return blkdev_get_by_path(node, BLK_OPEN_READ, NULL, NULL);
}

static void close_disk(struct block_device *bdev)
{
	blkdev_put(bdev, NULL);
}
#else
static struct block_device *open_disk(void)
{
	return blkdev_get_by_path(node, FMODE_READ, NULL);
}

static void close_disk(struct block_device *bdev)
{
	blkdev_put(bdev, FMODE_READ);
}
#endif

static struct block_device *disk;

static int __init stretch_init(void)
{
	disk = open_disk();
	if (IS_ERR(disk))
		return PTR_ERR(disk);

	capacity = get_capacity(disk->bd_disk);
	set_capacity(disk->bd_disk, capacity + SZ_2M / SECTOR_SIZE);
	pr_info("%s taken for 2 MiB larger\n", node);
	return 0;
}
module_init(stretch_init);

static void __exit stretch_exit(void)
{
	set_capacity(disk->bd_disk, capacity);
	close_disk(disk);
	pr_info("%s has its own size again\n", node);
}
module_exit(stretch_exit);

MODULE_AUTHOR("The lab project");
MODULE_DESCRIPTION("Lets requests past the end of a disk reach its driver, for tests");
MODULE_LICENSE("GPL");
