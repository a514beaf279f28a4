// SPDX-License-Identifier: GPL-2.0
/*
 * virtblkiosim: a block device in memory, for teaching
 *
 * One disk, /dev/virtblkiosim, of 512-byte sectors; minors 1 to 15 are its
 * partitions. What is written stays until the module is removed. There is no
 * cache to flush: a write is stable as soon as it has completed.
 *
 * Besides block I/O, blocks of a strictly defined size go through ioctls:
 *
 *   _IO('q', 0)                  register the calling process
 *   _IOR('q', 1, unsigned long)  get the size of a block in bytes
 *   _IOR('q', 2, unsigned long)  read the next block into the user's buffer
 *   _IOW('q', 3, unsigned long)  write the next block from the user's buffer
 *
 * The argument of 1 is the address of an unsigned long, that of 2 and 3 the
 * address of a buffer of exactly one block; 0 has none. A registered process has
 * a position for reading and one for writing. Both begin at the first block of
 * the disk or partition that the call is made on, advance by a block with each
 * success, and wrap at the end. Registering again sets both back. Threads share
 * the registration of their process, children have none. It lasts until the
 * process ends or nobody has the device open.
 *
 * Errors: EPERM for 2 and 3 when the process is not registered, and for 3 when
 * the device is read-only; EBADF when the file is not open for reading (2) or
 * writing (3); EFAULT for a bad address, and then no position has moved and
 * nothing was written; EUSERS when too many processes are registered; ENOTTY for
 * any other command.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/bio.h>
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/bvec.h>
#include <linux/compat.h>
#include <linux/ctype.h>
#include <linux/device.h>
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/ioctl.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/vmalloc.h>

#define SIM_NAME		"virtblkiosim"
#define SIM_MINORS		16
#define SIM_DEFAULT_MIB		32
#define SIM_MAX_MIB		1024
#define SIM_QUEUE_DEPTH		128
#define SIM_MAX_CLIENTS		1024

/* What one request may clear at most: queue_rq() must not run for long. */
#define SIM_MAX_CLEAR		SZ_4M

/* The block of the ioctls. It is a sector, so a partition holds whole ones. */
#define SIM_BLOCK		SECTOR_SIZE

#define SIM_IOC_REGISTER	_IO('q', 0)
#define SIM_IOC_GET_SIZE	_IOR('q', 1, unsigned long)
#define SIM_IOC_READ		_IOR('q', 2, unsigned long)
#define SIM_IOC_WRITE		_IOW('q', 3, unsigned long)

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
#define blk_mode_t		fmode_t
#define BLK_OPEN_READ		FMODE_READ
#define BLK_OPEN_WRITE		FMODE_WRITE
#endif

static unsigned int size_mib = SIM_DEFAULT_MIB;
module_param(size_mib, uint, 0444);
MODULE_PARM_DESC(size_mib, "Size of the disk in MiB, 1 to 1024 (default 32)");

static bool log = true;
module_param(log, bool, 0644);
MODULE_PARM_DESC(log, "Log each open, close and ioctl (default Y)");

/**
 * struct sim_client - a registered process
 * @node: in &struct sim.clients
 * @pid: its thread group; the reference keeps a later process from being taken
 *	for this one
 * @lock: guards the positions, and keeps calls of threads in order
 * @read_at: number of the block that is read next
 * @write_at: number of the block that is written next
 */
struct sim_client {
	struct list_head node;
	struct pid *pid;
	struct mutex lock; /* guards read_at and write_at */
	sector_t read_at;
	sector_t write_at;
};

/**
 * struct sim - the device
 * @disk: the disk
 * @tags: its requests
 * @storage: what the disk holds
 * @bytes: size of @storage
 * @major: its major number
 * @lock: guards @clients, @registered and @users
 * @clients: registered processes
 * @registered: how many they are
 * @users: how many times the device is open
 * @transfer: held while an ioctl moves a block, so that each block is moved whole
 * @ioctl_reads: blocks read by ioctl
 * @ioctl_writes: blocks written by ioctl
 */
static struct sim {
	struct gendisk *disk;
	struct blk_mq_tag_set tags;
	u8 *storage;
	size_t bytes;
	int major;
	struct mutex lock; /* guards clients, registered, users */
	struct list_head clients;
	unsigned int registered;
	unsigned int users;
	struct mutex transfer; /* orders the blocks of ioctls */
	atomic64_t ioctl_reads;
	atomic64_t ioctl_writes;
} sim = {
	.lock = __MUTEX_INITIALIZER(sim.lock),
	.clients = LIST_HEAD_INIT(sim.clients),
	.transfer = __MUTEX_INITIALIZER(sim.transfer),
};

#define sim_log(fmt, ...)						\
do {									\
	if (READ_ONCE(log))						\
		pr_info(fmt, ##__VA_ARGS__);				\
} while (0)

/* ---- block I/O ---- */

static void sim_copy(struct request *rq, u8 *at)
{
	const bool write = op_is_write(req_op(rq));
	struct req_iterator iter;
	struct bio_vec bvec;

	rq_for_each_segment(bvec, rq, iter) {
		if (write)
			memcpy_from_bvec(at, &bvec);
		else
			memcpy_to_bvec(&bvec, at);
		at += bvec.bv_len;
	}
}

/*
 * Runs on any number of CPUs at once. Like any disk, this one promises nothing
 * about requests for the same sectors that are under way at the same time.
 */
static blk_status_t sim_serve(struct request *rq)
{
	const u64 start = (u64)blk_rq_pos(rq) << SECTOR_SHIFT;
	const unsigned int length = blk_rq_bytes(rq);

	if (start > sim.bytes || length > sim.bytes - start)
		return BLK_STS_IOERR;

	switch (req_op(rq)) {
	case REQ_OP_READ:
	case REQ_OP_WRITE:
		sim_copy(rq, sim.storage + start);
		return BLK_STS_OK;
	case REQ_OP_DISCARD:
	case REQ_OP_WRITE_ZEROES:
		memset(sim.storage + start, 0, length);
		return BLK_STS_OK;
	default:
		return BLK_STS_NOTSUPP;
	}
}

static blk_status_t sim_queue_rq(struct blk_mq_hw_ctx *hctx,
				 const struct blk_mq_queue_data *bd)
{
	blk_mq_start_request(bd->rq);
	blk_mq_end_request(bd->rq, sim_serve(bd->rq));
	return BLK_STS_OK;
}

static const struct blk_mq_ops sim_mq_ops = {
	.queue_rq = sim_queue_rq,
};

/* ---- registered processes ---- */

static void sim_forget(struct sim_client *client)
{
	lockdep_assert_held(&sim.lock);
	list_del(&client->node);
	sim.registered--;
	put_pid(client->pid);
	mutex_destroy(&client->lock);
	kfree(client);
}

/* No call of a process is under way once it is gone, so nobody uses its client. */
static void sim_forget_dead(void)
{
	struct sim_client *client, *next;
	bool dead;

	list_for_each_entry_safe(client, next, &sim.clients, node) {
		rcu_read_lock();
		dead = !pid_task(client->pid, PIDTYPE_TGID);
		rcu_read_unlock();
		if (dead)
			sim_forget(client);
	}
}

static struct sim_client *sim_find(void)
{
	struct sim_client *client;

	lockdep_assert_held(&sim.lock);
	list_for_each_entry(client, &sim.clients, node) {
		if (client->pid == task_tgid(current))
			return client;
	}
	return NULL;
}

static struct sim_client *sim_add(void)
{
	struct sim_client *client;

	sim_forget_dead();
	if (sim.registered >= SIM_MAX_CLIENTS)
		return ERR_PTR(-EUSERS);

	client = kzalloc(sizeof(*client), GFP_KERNEL_ACCOUNT);
	if (!client)
		return ERR_PTR(-ENOMEM);

	mutex_init(&client->lock);
	client->pid = get_pid(task_tgid(current));
	list_add(&client->node, &sim.clients);
	sim.registered++;
	return client;
}

static int sim_register(void)
{
	struct sim_client *client;

	mutex_lock(&sim.lock);
	client = sim_find();
	if (!client)
		client = sim_add();
	mutex_unlock(&sim.lock);
	if (IS_ERR(client))
		return PTR_ERR(client);

	if (mutex_lock_interruptible(&client->lock))
		return -ERESTARTSYS;
	client->read_at = 0;
	client->write_at = 0;
	mutex_unlock(&client->lock);
	return 0;
}

/*
 * The caller's client, locked. It stays: the caller lives, and has the device
 * open for as long as its ioctl runs.
 */
static struct sim_client *sim_lock_client(void)
{
	struct sim_client *client;

	mutex_lock(&sim.lock);
	client = sim_find();
	mutex_unlock(&sim.lock);

	if (!client)
		return ERR_PTR(-EPERM);
	if (mutex_lock_interruptible(&client->lock))
		return ERR_PTR(-ERESTARTSYS);
	return client;
}

/* ---- blocks through ioctls ---- */

static struct address_space *sim_cache(struct block_device *bdev)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
	return bdev->bd_inode->i_mapping;
#else
	return bdev->bd_mapping;
#endif
}

/*
 * As direct I/O does it: dirty pages reach the disk first, and a write leaves no
 * old page behind. @sector counts from the start of @bdev.
 */
static int sim_transfer(struct block_device *bdev, sector_t sector,
			struct page *page, blk_opf_t opf)
{
	const loff_t start = (loff_t)sector << SECTOR_SHIFT;
	const loff_t last = start + SIM_BLOCK - 1;
	struct bio_vec bvec;
	struct bio bio;
	int ret;

	mutex_lock(&sim.transfer);
	ret = sync_blockdev_range(bdev, start, last);
	if (ret)
		goto unlock;

	bio_init(&bio, bdev, &bvec, 1, opf);
	bio.bi_iter.bi_sector = sector;
	__bio_add_page(&bio, page, SIM_BLOCK, 0);
	ret = submit_bio_wait(&bio);
	bio_uninit(&bio);

	if (!ret && op_is_write(opf))
		invalidate_inode_pages2_range(sim_cache(bdev),
					      start >> PAGE_SHIFT,
					      last >> PAGE_SHIFT);
unlock:
	mutex_unlock(&sim.transfer);
	return ret;
}

/* A partition, or where it ends, may have changed since the last call. */
static sector_t sim_wrap(struct block_device *bdev, sector_t sector)
{
	return sector < bdev_nr_sectors(bdev) ? sector : 0;
}

static int sim_read_block(struct block_device *bdev, void __user *to)
{
	struct sim_client *client = sim_lock_client();
	struct page *page;
	sector_t sector;
	int ret;

	if (IS_ERR(client))
		return PTR_ERR(client);

	ret = -ENOMEM;
	page = alloc_page(GFP_KERNEL);
	if (!page)
		goto unlock;

	sector = sim_wrap(bdev, client->read_at);
	ret = sim_transfer(bdev, sector, page, REQ_OP_READ | REQ_SYNC);
	if (!ret && copy_to_user(to, page_address(page), SIM_BLOCK))
		ret = -EFAULT;
	__free_page(page);
	if (!ret) {
		client->read_at = sector + 1;
		atomic64_inc(&sim.ioctl_reads);
	}
unlock:
	mutex_unlock(&client->lock);
	return ret;
}

static int sim_write_block(struct block_device *bdev, const void __user *from)
{
	struct sim_client *client = sim_lock_client();
	struct page *page;
	sector_t sector;
	int ret;

	if (IS_ERR(client))
		return PTR_ERR(client);

	ret = -ENOMEM;
	page = alloc_page(GFP_KERNEL);
	if (!page)
		goto unlock;

	ret = -EFAULT;
	if (!copy_from_user(page_address(page), from, SIM_BLOCK)) {
		sector = sim_wrap(bdev, client->write_at);
		ret = sim_transfer(bdev, sector, page, REQ_OP_WRITE | REQ_SYNC);
	}
	__free_page(page);
	if (!ret) {
		client->write_at = sector + 1;
		atomic64_inc(&sim.ioctl_writes);
	}
unlock:
	mutex_unlock(&client->lock);
	return ret;
}

static int sim_read(struct block_device *bdev, blk_mode_t mode, void __user *to)
{
	return mode & BLK_OPEN_READ ? sim_read_block(bdev, to) : -EBADF;
}

static int sim_write(struct block_device *bdev, blk_mode_t mode,
		     const void __user *from)
{
	if (!(mode & BLK_OPEN_WRITE))
		return -EBADF;
	if (bdev_read_only(bdev))
		return -EPERM;
	return sim_write_block(bdev, from);
}

static void sim_log_command(unsigned int cmd)
{
	static const char * const directions[] = {
		[_IOC_NONE] = "none",
		[_IOC_READ] = "read",
		[_IOC_WRITE] = "write",
		[_IOC_READ | _IOC_WRITE] = "read and write",
	};
	const unsigned char type = _IOC_TYPE(cmd);

	sim_log("ioctl: direction %s, size %u, type %c (0x%02x), number %u\n",
		directions[_IOC_DIR(cmd)], _IOC_SIZE(cmd),
		isascii(type) && isprint(type) ? type : '?', type,
		_IOC_NR(cmd));
}

static int sim_ioctl(struct block_device *bdev, blk_mode_t mode,
		     unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;

	sim_log_command(cmd);
	switch (cmd) {
	case SIM_IOC_REGISTER:
		return sim_register();
	case SIM_IOC_GET_SIZE:
		return put_user(SIM_BLOCK, (unsigned long __user *)user);
	case SIM_IOC_READ:
		return sim_read(bdev, mode, user);
	case SIM_IOC_WRITE:
		return sim_write(bdev, mode, user);
	default:
		return -ENOTTY;
	}
}

#ifdef CONFIG_COMPAT
/* The size of an unsigned long is part of the numbers of three commands. */
static int sim_compat_ioctl(struct block_device *bdev, blk_mode_t mode,
			    unsigned int cmd, unsigned long arg)
{
	void __user *user = compat_ptr(arg);

	sim_log_command(cmd);
	switch (cmd) {
	case SIM_IOC_REGISTER:
		return sim_register();
	case _IOR('q', 1, compat_ulong_t):
		return put_user(SIM_BLOCK, (compat_ulong_t __user *)user);
	case _IOR('q', 2, compat_ulong_t):
		return sim_read(bdev, mode, user);
	case _IOW('q', 3, compat_ulong_t):
		return sim_write(bdev, mode, user);
	default:
		return -ENOTTY;
	}
}
#else
#define sim_compat_ioctl NULL
#endif

/* ---- open and close ---- */

static int sim_engage(void)
{
	mutex_lock(&sim.lock);
	sim.users++;
	mutex_unlock(&sim.lock);
	sim_log("Device engage\n");
	return 0;
}

static void sim_disengage(void)
{
	struct sim_client *client, *next;

	sim_log("Device release\n");
	mutex_lock(&sim.lock);
	if (!--sim.users) {
		list_for_each_entry_safe(client, next, &sim.clients, node)
			sim_forget(client);
	}
	mutex_unlock(&sim.lock);
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
static int sim_open(struct block_device *bdev, fmode_t mode)
{
	return sim_engage();
}

static void sim_release(struct gendisk *disk, fmode_t mode)
{
	sim_disengage();
}
#else
static int sim_open(struct gendisk *disk, blk_mode_t mode)
{
	return sim_engage();
}

static void sim_release(struct gendisk *disk)
{
	sim_disengage();
}
#endif

static const struct block_device_operations sim_fops = {
	.owner = THIS_MODULE,
	.open = sim_open,
	.release = sim_release,
	.ioctl = sim_ioctl,
	.compat_ioctl = sim_compat_ioctl,
};

/* ---- /sys/block/virtblkiosim/iosim ---- */

static ssize_t storage_bytes_show(struct device *dev,
				  struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%zu\n", sim.bytes);
}
static DEVICE_ATTR_RO(storage_bytes);

static ssize_t block_bytes_show(struct device *dev,
				struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lu\n", (unsigned long)SIM_BLOCK);
}
static DEVICE_ATTR_RO(block_bytes);

static ssize_t users_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(sim.users));
}
static DEVICE_ATTR_RO(users);

static ssize_t registered_show(struct device *dev,
			       struct device_attribute *attr, char *buf)
{
	unsigned int registered;

	mutex_lock(&sim.lock);
	sim_forget_dead();
	registered = sim.registered;
	mutex_unlock(&sim.lock);
	return sysfs_emit(buf, "%u\n", registered);
}
static DEVICE_ATTR_RO(registered);

static ssize_t ioctl_reads_show(struct device *dev,
				struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", atomic64_read(&sim.ioctl_reads));
}
static DEVICE_ATTR_RO(ioctl_reads);

static ssize_t ioctl_writes_show(struct device *dev,
				 struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", atomic64_read(&sim.ioctl_writes));
}
static DEVICE_ATTR_RO(ioctl_writes);

static struct attribute *sim_attrs[] = {
	&dev_attr_storage_bytes.attr,
	&dev_attr_block_bytes.attr,
	&dev_attr_users.attr,
	&dev_attr_registered.attr,
	&dev_attr_ioctl_reads.attr,
	&dev_attr_ioctl_writes.attr,
	NULL
};

static const struct attribute_group sim_group = {
	.name = "iosim",
	.attrs = sim_attrs,
};

static const struct attribute_group *sim_groups[] = { &sim_group, NULL };

/* ---- load and unload ---- */

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
static struct gendisk *sim_alloc_disk(void)
{
	struct gendisk *disk = blk_mq_alloc_disk(&sim.tags, NULL);

	if (IS_ERR(disk))
		return disk;
	blk_queue_logical_block_size(disk->queue, SECTOR_SIZE);
	blk_queue_physical_block_size(disk->queue, PAGE_SIZE);
	blk_queue_max_hw_sectors(disk->queue, SIM_MAX_CLEAR >> SECTOR_SHIFT);
	blk_queue_max_discard_sectors(disk->queue,
				      SIM_MAX_CLEAR >> SECTOR_SHIFT);
	blk_queue_max_write_zeroes_sectors(disk->queue,
					   SIM_MAX_CLEAR >> SECTOR_SHIFT);
	disk->queue->limits.discard_granularity = SECTOR_SIZE;
	blk_queue_flag_set(QUEUE_FLAG_NONROT, disk->queue);
	return disk;
}
#else
static struct gendisk *sim_alloc_disk(void)
{
	struct queue_limits limits = {
		.logical_block_size = SECTOR_SIZE,
		.physical_block_size = PAGE_SIZE,
		.max_hw_sectors = SIM_MAX_CLEAR >> SECTOR_SHIFT,
		.max_hw_discard_sectors = SIM_MAX_CLEAR >> SECTOR_SHIFT,
		.max_write_zeroes_sectors = SIM_MAX_CLEAR >> SECTOR_SHIFT,
		.discard_granularity = SECTOR_SIZE,
	};
	struct gendisk *disk = blk_mq_alloc_disk(&sim.tags, &limits, NULL);

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
	if (!IS_ERR(disk))
		blk_queue_flag_set(QUEUE_FLAG_NONROT, disk->queue);
#endif
	return disk;
}
#endif

static int sim_add_disk(void)
{
	struct gendisk *disk = sim_alloc_disk();
	int ret;

	if (IS_ERR(disk))
		return PTR_ERR(disk);

	disk->major = sim.major;
	disk->first_minor = 0;
	disk->minors = SIM_MINORS;
	disk->fops = &sim_fops;
	strscpy(disk->disk_name, SIM_NAME, sizeof(disk->disk_name));
	set_capacity(disk, sim.bytes >> SECTOR_SHIFT);

	ret = device_add_disk(NULL, disk, sim_groups);
	if (ret)
		put_disk(disk);
	else
		sim.disk = disk;
	return ret;
}

/* Each CPU has a queue of its own; nothing is sorted, as no sector is far away. */
static int sim_alloc_tags(void)
{
	sim.tags.ops = &sim_mq_ops;
	sim.tags.nr_hw_queues = num_possible_cpus();
	sim.tags.queue_depth = SIM_QUEUE_DEPTH;
	sim.tags.numa_node = NUMA_NO_NODE;
	sim.tags.flags = BLK_MQ_F_NO_SCHED_BY_DEFAULT;
	return blk_mq_alloc_tag_set(&sim.tags);
}

/* A disk that is too large for the memory must fail alone, not kill processes. */
static int sim_alloc_storage(void)
{
	if (size_mib < 1 || size_mib > SIM_MAX_MIB) {
		pr_err("size_mib is %u, which is not between 1 and %u\n",
		       size_mib, SIM_MAX_MIB);
		return -EINVAL;
	}
	sim.bytes = (size_t)size_mib * SZ_1M;
	sim.storage = vmalloc_huge(sim.bytes, GFP_KERNEL | __GFP_ZERO |
				   __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
	if (!sim.storage) {
		pr_err("There is no memory for %u MiB\n", size_mib);
		return -ENOMEM;
	}
	return 0;
}

static int __init sim_init(void)
{
	int ret;

	ret = sim_alloc_storage();
	if (ret)
		return ret;

	ret = register_blkdev(0, SIM_NAME);
	if (ret < 0)
		goto free_storage;
	sim.major = ret;

	ret = sim_alloc_tags();
	if (ret)
		goto unregister;

	ret = sim_add_disk();
	if (ret)
		goto free_tags;

	pr_info("Device registered with major number of %d\n", sim.major);
	return 0;

free_tags:
	blk_mq_free_tag_set(&sim.tags);
unregister:
	unregister_blkdev(sim.major, SIM_NAME);
free_storage:
	vfree(sim.storage);
	return ret;
}
module_init(sim_init);

/* While the device is open the module cannot be removed: nobody is registered. */
static void __exit sim_exit(void)
{
	pr_info("Removing module...\n");
	del_gendisk(sim.disk);
	put_disk(sim.disk);
	blk_mq_free_tag_set(&sim.tags);
	unregister_blkdev(sim.major, SIM_NAME);
	vfree(sim.storage);
	pr_info("Device unregistered and removed from the system\n");
}
module_exit(sim_exit);

MODULE_AUTHOR("The lab project");
MODULE_DESCRIPTION("Block device in memory whose blocks can also be reached by ioctl, for teaching");
MODULE_VERSION("1.0");
MODULE_LICENSE("GPL");
