// SPDX-License-Identifier: GPL-2.0
/*
 * lab_keyboard: hands the scan codes of the PC keyboard to user programs
 *
 * Each open file of /dev/keyboard gets every byte that the keyboard controller
 * delivers from then on, make and break codes alike, as port 0x60 has them (set
 * 1). The keyboard goes on working for everybody else.
 *
 * read() waits for the first byte, unless the file is O_NONBLOCK; poll() tells
 * when there is one. A file that is not read keeps KEYBOARD_QUEUE bytes. What
 * comes after them is lost, up to the moment when a read() fails with EOVERFLOW:
 * it marks the gap, and what comes from then on is kept again. The directory
 * /sys/class/misc/keyboard counts interrupts, bytes, and bytes lost.
 *
 * Only root may open it: whoever reads scan codes reads passwords.
 *
 * Where the bytes come from: a handler that shares the interrupt must not read
 * port 0x60. The kernel's own driver, i8042, has taken the byte by then, and
 * reading again gives that byte only as long as no other has arrived; else it
 * takes the next one, which i8042 then never sees. So the bytes come from
 * i8042's filter hook, which its interrupt handler calls with each byte it took,
 * and the shared handler only accounts for the interrupt. Nothing depends on
 * which of the two handlers runs first.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/device.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/i8042.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/kfifo.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/printk.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/sysfs.h>
#include <linux/types.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#define KEYBOARD_NAME	"keyboard"
#define KEYBOARD_IRQ	1
#define KEYBOARD_QUEUE	1024	/* bytes for each open file; a power of two */
#define KEYBOARD_CHUNK	64	/* bytes copied to user space at once */

/**
 * struct keyboard_reader - an open file
 * @node: its place in keyboard_readers
 * @reading: held while bytes are taken out of @queue
 * @queue: bytes that were not read yet
 * @lost: bytes that found @queue full since the last EOVERFLOW; guarded by keyboard_lock
 */
struct keyboard_reader {
	struct list_head node;
	struct mutex reading; /* taking bytes out of the queue */
	DECLARE_KFIFO(queue, u8, KEYBOARD_QUEUE);
	unsigned long lost;
};

/* Guards the list, putting bytes into queues, and the numbers lost. */
static DEFINE_SPINLOCK(keyboard_lock);
static LIST_HEAD(keyboard_readers);
static DECLARE_WAIT_QUEUE_HEAD(keyboard_wait);

static atomic_t keyboard_unaccounted = ATOMIC_INIT(0);
static atomic_long_t keyboard_interrupts = ATOMIC_LONG_INIT(0);
static atomic_long_t keyboard_bytes = ATOMIC_LONG_INIT(0);
static atomic_long_t keyboard_lost = ATOMIC_LONG_INIT(0);

/* ---- bytes come in ---- */

/* After a loss nothing is kept until the reader knows, so the gap has one place. */
static void keyboard_put(struct keyboard_reader *reader, u8 byte)
{
	if (!reader->lost && kfifo_put(&reader->queue, byte))
		return;
	WRITE_ONCE(reader->lost, reader->lost + 1);
	atomic_long_inc(&keyboard_lost);
}

/* Called by i8042 in its interrupt handler, interrupts off; false lets the byte pass. */
static bool keyboard_filter(unsigned char data, unsigned char status, struct serio *serio)
{
	struct keyboard_reader *reader;
	unsigned long flags;

	if (status & I8042_STR_AUXDATA)
		return false;

	spin_lock_irqsave(&keyboard_lock, flags);
	list_for_each_entry(reader, &keyboard_readers, node)
		keyboard_put(reader, data);
	spin_unlock_irqrestore(&keyboard_lock, flags);

	atomic_long_inc(&keyboard_bytes);
	atomic_set(&keyboard_unaccounted, 1);
	wake_up_interruptible(&keyboard_wait);
	return false;
}

static irqreturn_t keyboard_interrupt(int irq, void *dev)
{
	if (!atomic_xchg(&keyboard_unaccounted, 0))
		return IRQ_NONE;
	atomic_long_inc(&keyboard_interrupts);
	return IRQ_HANDLED;
}

/* ---- bytes go out ---- */

static bool keyboard_ready(struct keyboard_reader *reader)
{
	return !kfifo_is_empty(&reader->queue) || READ_ONCE(reader->lost);
}

/* A byte leaves the queue only when it has reached the user. */
static ssize_t keyboard_copy(struct keyboard_reader *reader, char __user *to, size_t count)
{
	u8 bytes[KEYBOARD_CHUNK];
	size_t done = 0;

	while (done < count) {
		size_t wanted = min(count - done, sizeof(bytes));
		size_t got = kfifo_out_peek(&reader->queue, bytes, wanted);
		size_t left;

		if (!got)
			break;
		left = copy_to_user(to + done, bytes, got);
		done += kfifo_out(&reader->queue, bytes, got - left);
		if (left)
			return done ?: -EFAULT;
	}
	return done;
}

/* Bytes, 0 when there are none, or a negative errno value. */
static ssize_t keyboard_take(struct keyboard_reader *reader, char __user *to, size_t count)
{
	ssize_t taken;

	if (mutex_lock_interruptible(&reader->reading))
		return -ERESTARTSYS;
	taken = keyboard_copy(reader, to, count);
	if (!taken) {
		spin_lock_irq(&keyboard_lock);
		if (reader->lost && kfifo_is_empty(&reader->queue)) {
			WRITE_ONCE(reader->lost, 0);
			taken = -EOVERFLOW;
		}
		spin_unlock_irq(&keyboard_lock);
	}
	mutex_unlock(&reader->reading);
	return taken;
}

static ssize_t keyboard_read(struct file *file, char __user *to, size_t count, loff_t *offset)
{
	struct keyboard_reader *reader = file->private_data;
	ssize_t taken;

	if (!count)
		return 0;
	for (;;) {
		taken = keyboard_take(reader, to, count);
		if (taken)
			return taken;
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(keyboard_wait, keyboard_ready(reader)))
			return -ERESTARTSYS;
	}
}

static __poll_t keyboard_poll(struct file *file, poll_table *table)
{
	poll_wait(file, &keyboard_wait, table);
	return keyboard_ready(file->private_data) ? EPOLLIN | EPOLLRDNORM : 0;
}

/* ---- files ---- */

static int keyboard_open(struct inode *inode, struct file *file)
{
	struct keyboard_reader *reader = kzalloc(sizeof(*reader), GFP_KERNEL_ACCOUNT);

	if (!reader)
		return -ENOMEM;
	mutex_init(&reader->reading);
	INIT_KFIFO(reader->queue);
	file->private_data = reader;

	spin_lock_irq(&keyboard_lock);
	list_add_tail(&reader->node, &keyboard_readers);
	spin_unlock_irq(&keyboard_lock);
	return stream_open(inode, file);
}

static int keyboard_release(struct inode *inode, struct file *file)
{
	struct keyboard_reader *reader = file->private_data;

	spin_lock_irq(&keyboard_lock);
	list_del(&reader->node);
	spin_unlock_irq(&keyboard_lock);
	kfree(reader);
	return 0;
}

static const struct file_operations keyboard_fops = {
	.owner = THIS_MODULE,
	.open = keyboard_open,
	.release = keyboard_release,
	.read = keyboard_read,
	.poll = keyboard_poll,
};

/* ---- counters ---- */

static ssize_t interrupts_show(struct device *dev, struct device_attribute *attr, char *text)
{
	return sysfs_emit(text, "%ld\n", atomic_long_read(&keyboard_interrupts));
}
static DEVICE_ATTR_RO(interrupts);

static ssize_t bytes_show(struct device *dev, struct device_attribute *attr, char *text)
{
	return sysfs_emit(text, "%ld\n", atomic_long_read(&keyboard_bytes));
}
static DEVICE_ATTR_RO(bytes);

static ssize_t lost_show(struct device *dev, struct device_attribute *attr, char *text)
{
	return sysfs_emit(text, "%ld\n", atomic_long_read(&keyboard_lost));
}
static DEVICE_ATTR_RO(lost);

static struct attribute *keyboard_attrs[] = {
	&dev_attr_interrupts.attr,
	&dev_attr_bytes.attr,
	&dev_attr_lost.attr,
	NULL,
};
ATTRIBUTE_GROUPS(keyboard);

static struct miscdevice keyboard_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = KEYBOARD_NAME,
	.fops = &keyboard_fops,
	.groups = keyboard_groups,
	.mode = 0400,
};

/* ---- the module ---- */

static int __init keyboard_init(void)
{
	int error;

	error = request_irq(KEYBOARD_IRQ, keyboard_interrupt, IRQF_SHARED, KEYBOARD_NAME,
			    &keyboard_device);
	if (error) {
		pr_err("the keyboard's interrupt cannot be shared: %d\n", error);
		return error;
	}
	error = i8042_install_filter(keyboard_filter);
	if (error) {
		pr_err("another filter of the keyboard is in place: %d\n", error);
		goto free;
	}
	error = misc_register(&keyboard_device);
	if (error)
		goto remove;
	return 0;

remove:
	i8042_remove_filter(keyboard_filter);
free:
	free_irq(KEYBOARD_IRQ, &keyboard_device);
	return error;
}

/* No file is open: each holds a reference to the module. */
static void __exit keyboard_exit(void)
{
	misc_deregister(&keyboard_device);
	i8042_remove_filter(keyboard_filter);
	free_irq(KEYBOARD_IRQ, &keyboard_device);
}

module_init(keyboard_init);
module_exit(keyboard_exit);

MODULE_DESCRIPTION("Hands the scan codes of the PC keyboard to user programs");
MODULE_VERSION("1.0");
MODULE_LICENSE("GPL");
