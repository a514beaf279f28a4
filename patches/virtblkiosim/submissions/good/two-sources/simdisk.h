#ifndef SIMDISK_H
#define SIMDISK_H

#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#define DISK_NAME "virtblkiosim"
#define DISK_BYTES (32UL * 1024 * 1024)
#define BLOCK_BYTES 1024UL

struct simdisk {
	int major;
	char *data;
	spinlock_t lock; /* data, reader, writer */
	unsigned long reader;
	unsigned long writer;
	struct blk_mq_tag_set tags;
	struct gendisk *disk;
};

extern struct simdisk simdisk;

int simdisk_ioctl(struct block_device *bdev, blk_mode_t mode,
		  unsigned int cmd, unsigned long arg);

#endif
