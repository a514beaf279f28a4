// SPDX-License-Identifier: GPL-2.0
/*
 * Lab 3: a block device that lives in 8192 pages of memory.
 *
 * No request queue: bios are served as they come. The ioctls read and write the
 * first 4096 bytes of the disk.
 */

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/ioctl.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define NAME "virtblkiosim"
#define PAGES (32 * 1024 * 1024 / PAGE_SIZE)

#define CMD_REGISTER _IO('q', 0)
#define CMD_SIZE _IOR('q', 1, unsigned long)
#define CMD_READ _IOR('q', 2, unsigned long)
#define CMD_WRITE _IOW('q', 3, unsigned long)

static struct page *pages[PAGES];
static struct gendisk *disk;
static int major;
static pid_t owner;
static DEFINE_MUTEX(command_lock);

static void copy_piece(struct page *page, unsigned int from, struct bio_vec *bv,
		       bool write)
{
	void *at = page_address(page) + from;
	void *data = bvec_kmap_local(bv);

	if (write)
		memcpy(at, data, bv->bv_len);
	else
		memcpy(data, at, bv->bv_len);
	kunmap_local(data);
}

/* Pieces of a sector or more never cross one of our pages if cut at its end. */
static void serve_segment(u64 pos, struct bio_vec bv, bool write)
{
	while (bv.bv_len) {
		unsigned int from = offset_in_page(pos);
		struct bio_vec part = bv;

		part.bv_len = min_t(unsigned int, bv.bv_len, PAGE_SIZE - from);
		copy_piece(pages[pos >> PAGE_SHIFT], from, &part, write);
		bv.bv_offset += part.bv_len;
		bv.bv_len -= part.bv_len;
		pos += part.bv_len;
	}
}

static void pd_submit_bio(struct bio *bio)
{
	u64 pos = (u64)bio->bi_iter.bi_sector * 512;
	bool write = op_is_write(bio_op(bio));
	struct bvec_iter iter;
	struct bio_vec bv;

	if (pos + bio->bi_iter.bi_size > PAGES * PAGE_SIZE) {
		bio_io_error(bio);
		return;
	}
	bio_for_each_segment(bv, bio, iter) {
		serve_segment(pos, bv, write);
		pos += bv.bv_len;
	}
	bio_endio(bio);
}

static int pd_open(struct gendisk *d, blk_mode_t mode)
{
	printk(KERN_INFO NAME ": Device engage\n");
	return 0;
}

static void pd_release(struct gendisk *d)
{
	printk(KERN_INFO NAME ": Device release\n");
}

static long read_first(void __user *user, void *buf)
{
	mutex_lock(&command_lock);
	memcpy(buf, page_address(pages[0]), PAGE_SIZE);
	mutex_unlock(&command_lock);
	return copy_to_user(user, buf, PAGE_SIZE) ? -EFAULT : 0;
}

static long write_first(void __user *user, void *buf)
{
	if (copy_from_user(buf, user, PAGE_SIZE))
		return -EFAULT;
	mutex_lock(&command_lock);
	memcpy(page_address(pages[0]), buf, PAGE_SIZE);
	mutex_unlock(&command_lock);
	return 0;
}

static int pd_ioctl(struct block_device *bdev, blk_mode_t mode, unsigned int cmd,
		    unsigned long arg)
{
	void __user *user = (void __user *)arg;
	void *buf;
	long ret;

	printk(KERN_INFO NAME ": ioctl dir=%u size=%u type=%c nr=%u\n",
	       _IOC_DIR(cmd), _IOC_SIZE(cmd), _IOC_TYPE(cmd), _IOC_NR(cmd));
	if (cmd == CMD_REGISTER) {
		owner = current->tgid;
		return 0;
	}
	if (cmd == CMD_SIZE)
		return put_user(PAGE_SIZE, (unsigned long __user *)user);
	if (cmd != CMD_READ && cmd != CMD_WRITE)
		return -ENOTTY;

	buf = kmalloc(PAGE_SIZE, GFP_KERNEL);
	if (!buf)
		return -ENOMEM;
	ret = cmd == CMD_READ ? read_first(user, buf) : write_first(user, buf);
	kfree(buf);
	return ret;
}

static const struct block_device_operations pd_ops = {
	.owner = THIS_MODULE,
	.submit_bio = pd_submit_bio,
	.open = pd_open,
	.release = pd_release,
	.ioctl = pd_ioctl,
};

static void free_pages_of_disk(void)
{
	int i;

	for (i = 0; i < PAGES; i++)
		if (pages[i])
			__free_page(pages[i]);
}

static int __init pd_init(void)
{
	int i, err = -ENOMEM;

	for (i = 0; i < PAGES; i++) {
		pages[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!pages[i])
			goto free;
	}
	major = register_blkdev(0, NAME);
	if (major < 0) {
		err = major;
		goto free;
	}
	disk = blk_alloc_disk(NULL, NUMA_NO_NODE);
	if (IS_ERR(disk)) {
		err = PTR_ERR(disk);
		goto unregister;
	}
	disk->major = major;
	disk->minors = 16;
	disk->fops = &pd_ops;
	strcpy(disk->disk_name, NAME);
	set_capacity(disk, PAGES * PAGE_SIZE / 512);
	err = add_disk(disk);
	if (err)
		goto put;
	printk(KERN_INFO NAME ": Device registered with major number of %d\n",
	       major);
	return 0;
put:
	put_disk(disk);
unregister:
	unregister_blkdev(major, NAME);
free:
	free_pages_of_disk();
	return err;
}

static void __exit pd_exit(void)
{
	printk(KERN_INFO NAME ": Removing module...\n");
	del_gendisk(disk);
	put_disk(disk);
	unregister_blkdev(major, NAME);
	free_pages_of_disk();
	printk(KERN_INFO NAME ": Device unregistered and removed from the system\n");
}

module_init(pd_init);
module_exit(pd_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_AUTHOR("Ana");
MODULE_DESCRIPTION("Block device in single pages");
MODULE_VERSION("0.2");
