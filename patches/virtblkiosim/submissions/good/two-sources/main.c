/* Operating systems, lab 3: virtual block device, one queue, one lock. */
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/module.h>
#include <linux/vmalloc.h>

#include "simdisk.h"

struct simdisk simdisk;

static blk_status_t queue_rq(struct blk_mq_hw_ctx *hctx,
			     const struct blk_mq_queue_data *bd)
{
	struct request *rq = bd->rq;
	loff_t pos = blk_rq_pos(rq) * SECTOR_SIZE;
	blk_status_t status = BLK_STS_OK;
	struct req_iterator iter;
	struct bio_vec bv;

	blk_mq_start_request(rq);
	spin_lock(&simdisk.lock);
	rq_for_each_segment(bv, rq, iter) {
		void *mem = page_address(bv.bv_page) + bv.bv_offset;

		if (pos + bv.bv_len > DISK_BYTES) {
			status = BLK_STS_IOERR;
			break;
		}
		if (rq_data_dir(rq) == WRITE)
			memcpy(simdisk.data + pos, mem, bv.bv_len);
		else
			memcpy(mem, simdisk.data + pos, bv.bv_len);
		pos += bv.bv_len;
	}
	spin_unlock(&simdisk.lock);
	blk_mq_end_request(rq, status);
	return BLK_STS_OK;
}

static const struct blk_mq_ops mq_ops = { .queue_rq = queue_rq };

static int disk_open(struct gendisk *disk, blk_mode_t mode)
{
	pr_info(DISK_NAME ": Device engage\n");
	return 0;
}

static void disk_release(struct gendisk *disk)
{
	pr_info(DISK_NAME ": Device release\n");
}

static const struct block_device_operations ops = {
	.owner = THIS_MODULE,
	.open = disk_open,
	.release = disk_release,
	.ioctl = simdisk_ioctl,
};

static int make_disk(void)
{
	struct gendisk *disk;
	int err;

	simdisk.tags.ops = &mq_ops;
	simdisk.tags.nr_hw_queues = 1;
	simdisk.tags.queue_depth = 64;
	simdisk.tags.numa_node = NUMA_NO_NODE;
	err = blk_mq_alloc_tag_set(&simdisk.tags);
	if (err)
		return err;
	disk = blk_mq_alloc_disk(&simdisk.tags, NULL, NULL);
	if (IS_ERR(disk)) {
		blk_mq_free_tag_set(&simdisk.tags);
		return PTR_ERR(disk);
	}
	disk->major = simdisk.major;
	disk->minors = 16;
	disk->fops = &ops;
	snprintf(disk->disk_name, sizeof(disk->disk_name), DISK_NAME);
	set_capacity(disk, DISK_BYTES / SECTOR_SIZE);
	err = add_disk(disk);
	if (err) {
		put_disk(disk);
		blk_mq_free_tag_set(&simdisk.tags);
		return err;
	}
	simdisk.disk = disk;
	return 0;
}

static int __init simdisk_init(void)
{
	int err;

	spin_lock_init(&simdisk.lock);
	simdisk.data = vzalloc(DISK_BYTES);
	if (!simdisk.data)
		return -ENOMEM;
	simdisk.major = register_blkdev(0, DISK_NAME);
	if (simdisk.major <= 0) {
		vfree(simdisk.data);
		return -EBUSY;
	}
	err = make_disk();
	if (err) {
		unregister_blkdev(simdisk.major, DISK_NAME);
		vfree(simdisk.data);
		return err;
	}
	pr_info(DISK_NAME ": Device registered with major number of %d\n",
		simdisk.major);
	return 0;
}

static void __exit simdisk_exit(void)
{
	pr_info(DISK_NAME ": Removing module...\n");
	del_gendisk(simdisk.disk);
	put_disk(simdisk.disk);
	blk_mq_free_tag_set(&simdisk.tags);
	unregister_blkdev(simdisk.major, DISK_NAME);
	vfree(simdisk.data);
	pr_info(DISK_NAME ": Device unregistered and removed from the system\n");
}

module_init(simdisk_init);
module_exit(simdisk_exit);
MODULE_LICENSE("GPL v2");
MODULE_AUTHOR("Ivo and Petra");
MODULE_DESCRIPTION("Simulated disk with ioctls");
MODULE_VERSION("3");
