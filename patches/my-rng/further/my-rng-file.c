// SPDX-License-Identifier: GPL-2.0
/*
 * The nodes of my_rng_pci, as programs see them
 *
 * An open file has memory of its own, into which the device is asked. So nobody
 * waits for a program whose memory is slow to come, and what does not reach the
 * program is kept for its next try.
 */

#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/io.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "my-rng-pci.h"

/**
 * struct my_rng_file - an open file
 * @rng: its device
 * @lock: guards the members below: several threads may share the file
 * @path: how read() gets its bytes
 * @epoch: how often the device was seeded before it gave what is kept
 * @size: bytes of @buffer
 * @from: where in @buffer begins what was not delivered yet
 * @to: where it ends
 * @buffer: what the device gave
 */
struct my_rng_file {
	struct my_rng *rng;
	struct mutex lock; /* one command after another */
	unsigned int path;
	u32 epoch;
	size_t size;
	size_t from;
	size_t to;
	u8 *buffer;
};

static size_t my_rng_kept(const struct my_rng_file *f)
{
	return f->to - f->from;
}

/* Have the device give what is missing of @least bytes, at best @wanted. */
static int my_rng_fill(struct my_rng_file *f, unsigned int path, size_t least,
		       size_t wanted)
{
	size_t kept;
	ssize_t got;
	u32 epoch;

	if (f->epoch != READ_ONCE(f->rng->epoch))
		f->from = f->to;
	kept = my_rng_kept(f);
	if (kept >= least)
		return 0;

	memmove(f->buffer, f->buffer + f->from, kept);
	f->from = 0;
	f->to = kept;
	wanted = min(wanted, f->size) - kept;
	got = my_rng_draw(f->rng, path, (__le32 *)(f->buffer + kept), wanted,
			  &epoch);
	if (got < 0)
		return got;

	/* Seeded meanwhile: the old part is of another sequence. */
	if (epoch != f->epoch)
		f->from = kept;
	f->epoch = epoch;
	f->to = kept + got;
	return 0;
}

static size_t my_rng_deliver(struct my_rng_file *f, void __user *to, size_t count)
{
	const size_t bytes = min(count, my_rng_kept(f));
	const size_t delivered = bytes - copy_to_user(to, f->buffer + f->from, bytes);

	f->from += delivered;
	return delivered;
}

/* A read of a gigabyte is a loop: others get their turn, and signals are seen. */
static ssize_t my_rng_read(struct file *file, char __user *to, size_t count,
			   loff_t *position)
{
	struct my_rng_file *f = file->private_data;
	size_t done = 0;
	size_t delivered;
	int ret = 0;

	if (mutex_lock_interruptible(&f->lock))
		return -ERESTARTSYS;

	while (done < count && !ret) {
		ret = my_rng_fill(f, f->path, 1, count - done);
		if (ret)
			break;
		delivered = my_rng_deliver(f, to + done, count - done);
		done += delivered;
		if (my_rng_kept(f) && done < count)
			ret = -EFAULT;
		else if (signal_pending(current))
			ret = -ERESTARTSYS;
		cond_resched();
	}

	mutex_unlock(&f->lock);
	return done ? done : ret;
}

/* Get a value of @size bytes, one number or two, in one piece. */
static int my_rng_get(struct my_rng_file *f, unsigned int path,
		      void __user *slot, size_t size)
{
	int ret;

	if (!my_rng_has_path(f->rng, path))
		return -EOPNOTSUPP;

	f->from = round_up(f->from, sizeof(u32));
	do {
		ret = my_rng_fill(f, path, size, size);
		if (ret)
			return ret;
	} while (my_rng_kept(f) < size);

	if (copy_to_user(slot, f->buffer + f->from, size))
		return -EFAULT;
	f->from += size;
	return 0;
}

static int my_rng_set_seed(struct my_rng_file *f, const void __user *slot)
{
	u32 seed;

	if (copy_from_user(&seed, slot, sizeof(seed)))
		return -EFAULT;
	return my_rng_seed(f->rng, seed);
}

static int my_rng_set_path(struct my_rng_file *f, const void __user *slot)
{
	unsigned int path;

	if (copy_from_user(&path, slot, sizeof(path)))
		return -EFAULT;
	if (path > MY_RNG_PATH_BULK)
		return -EINVAL;
	if (!my_rng_has_path(f->rng, path))
		return -EOPNOTSUPP;
	f->path = path;
	return 0;
}

static int my_rng_command(struct my_rng_file *f, unsigned int cmd,
			  void __user *slot)
{
	switch (cmd) {
	case MY_RNG_IOC_GET:
		return my_rng_get(f, MY_RNG_PATH_NARROW, slot, sizeof(u32));
	case MY_RNG_IOC_GET64:
		return my_rng_get(f, MY_RNG_PATH_WIDE, slot, sizeof(u64));
	case MY_RNG_IOC_SEED:
		return my_rng_set_seed(f, slot);
	case MY_RNG_IOC_PATH:
		return my_rng_set_path(f, slot);
	default:
		return -ENOTTY;
	}
}

/* A value that did not reach the program, unless another thread keeps some. */
static noinline long my_rng_keep(struct my_rng_file *f, u64 value, size_t size,
				 u32 epoch)
{
	const __le64 kept = cpu_to_le64(value);

	mutex_lock(&f->lock);
	if (!my_rng_kept(f)) {
		memcpy(f->buffer, &kept, size);
		f->from = 0;
		f->to = size;
		f->epoch = epoch;
	}
	mutex_unlock(&f->lock);
	return -EFAULT;
}

static u64 my_rng_value(const struct my_rng *rng, bool wide)
{
	return wide ? readq(rng->regs + MY_RNG_REG_RNG64) :
		      readl(rng->regs + MY_RNG_REG_RNG);
}

/*
 * With nothing kept, the usual case, a value goes from the register to the
 * program without any lock: what this costs is what a number costs. Whoever
 * lets go of the device waits for those who have not seen it yet. A seed that
 * comes between the two reads makes a value that is kept a stale one, never the
 * other way round.
 */
static long my_rng_get_one(struct my_rng_file *f, void __user *slot, bool wide)
{
	struct my_rng *rng = f->rng;
	u64 value = 0;
	bool gone;
	u32 epoch;

	rcu_read_lock();
	gone = READ_ONCE(rng->gone);
	epoch = READ_ONCE(rng->epoch);
	if (!gone)
		value = my_rng_value(rng, wide);
	rcu_read_unlock();

	/* What the bus answers for a device that was pulled out. */
	if (unlikely((u32)value == ~0))
		gone = my_rng_is_lost(rng);
	if (gone)
		return -ENODEV;
	if (wide ? put_user(value, (u64 __user *)slot) :
		   put_user((u32)value, (u32 __user *)slot))
		return my_rng_keep(f, value, wide ? sizeof(u64) : sizeof(u32),
				   epoch);
	return 0;
}

static bool my_rng_is_simple(const struct my_rng_file *f, unsigned int cmd)
{
	if (READ_ONCE(f->from) != READ_ONCE(f->to))
		return false;
	return cmd == MY_RNG_IOC_GET ||
	       (cmd == MY_RNG_IOC_GET64 &&
		f->rng->features & MY_RNG_FEATURE_WIDE);
}

static long my_rng_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct my_rng_file *f = file->private_data;
	long ret;

	if (my_rng_is_simple(f, cmd))
		return my_rng_get_one(f, (void __user *)arg,
				      cmd == MY_RNG_IOC_GET64);
	if (READ_ONCE(f->rng->gone))
		return -ENODEV;
	if (mutex_lock_interruptible(&f->lock))
		return -ERESTARTSYS;
	ret = my_rng_command(f, cmd, (void __user *)arg);
	mutex_unlock(&f->lock);
	return ret;
}

/* There are always more numbers; who waits learns that the device is gone. */
static __poll_t my_rng_poll(struct file *file, poll_table *wait)
{
	struct my_rng_file *f = file->private_data;

	poll_wait(file, &f->rng->events, wait);
	return READ_ONCE(f->rng->gone) ? EPOLLHUP | EPOLLERR :
					 EPOLLIN | EPOLLRDNORM;
}

/* Memory in one piece becomes rare: less of it means more transfers, no more. */
static void my_rng_get_buffer(struct my_rng_file *f)
{
	for (f->size = MY_RNG_MAX_BULK; f->size >= PAGE_SIZE; f->size /= 2) {
		f->buffer = kzalloc(f->size, GFP_KERNEL_ACCOUNT | __GFP_NOWARN |
				    __GFP_NORETRY);
		if (f->buffer)
			return;
	}
}

static int my_rng_open(struct inode *inode, struct file *file)
{
	struct my_rng *rng = container_of(inode->i_cdev, struct my_rng, cdev);
	struct my_rng_file *f;

	if (READ_ONCE(rng->gone))
		return -ENODEV;
	f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	if (!f)
		return -ENOMEM;
	my_rng_get_buffer(f);
	if (!f->buffer) {
		kfree(f);
		return -ENOMEM;
	}

	/* The node cannot go before its last file: it holds the structure. */
	f->rng = rng;
	mutex_init(&f->lock);
	file->private_data = f;
	return stream_open(inode, file);
}

static int my_rng_release(struct inode *inode, struct file *file)
{
	struct my_rng_file *f = file->private_data;

	kfree(f->buffer);
	kfree(f);
	return 0;
}

const struct file_operations my_rng_fops = {
	.owner = THIS_MODULE,
	.open = my_rng_open,
	.release = my_rng_release,
	.read = my_rng_read,
	.poll = my_rng_poll,
	.unlocked_ioctl = my_rng_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};
