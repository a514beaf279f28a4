// SPDX-License-Identifier: GPL-2.0
/*
 * Lab 3, part 3: every key that is pressed or released interrupts. The handler
 * keeps its scan code, and each reader of /proc/scancodes gets all of them, a line each.
 */
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#define KEYBOARD_IRQ 1
#define KEYBOARD_DATA 0x60
#define SIZE 512

static unsigned char buffer[SIZE];
static unsigned int written; /* codes so far */
static DECLARE_WAIT_QUEUE_HEAD(key_queue);

static irqreturn_t keyboard_handler(int irq, void *dev)
{
	unsigned char code = inb(KEYBOARD_DATA);

	buffer[written % SIZE] = code;
	smp_wmb();
	WRITE_ONCE(written, written + 1);
	wake_up_interruptible(&key_queue);
	return IRQ_HANDLED;
}

static int scancodes_open(struct inode *inode, struct file *file)
{
	unsigned int *position = kmalloc(sizeof(*position), GFP_KERNEL);

	if (!position)
		return -ENOMEM;
	*position = READ_ONCE(written);
	file->private_data = position;
	return 0;
}

static int scancodes_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static ssize_t scancodes_read(struct file *file, char __user *to, size_t count, loff_t *offset)
{
	unsigned int *position = file->private_data;
	char text[16];
	size_t done = 0;
	int length;

	if (wait_event_interruptible(key_queue, *position != READ_ONCE(written)))
		return -ERESTARTSYS;
	while (*position != READ_ONCE(written)) {
		length = sprintf(text, "0x%02x\n", buffer[*position % SIZE]);
		if (done + length > count)
			break;
		if (copy_to_user(to + done, text, length))
			return -EFAULT;
		(*position)++;
		done += length;
	}
	return done;
}

static const struct proc_ops scancodes_ops = {
	.proc_open = scancodes_open,
	.proc_release = scancodes_release,
	.proc_read = scancodes_read,
};

static int __init keyboard_init(void)
{
	int error;

	error = request_irq(KEYBOARD_IRQ, keyboard_handler, IRQF_SHARED, "scancodes", &written);
	if (error)
		return error;
	if (!proc_create("scancodes", 0444, NULL, &scancodes_ops)) {
		free_irq(KEYBOARD_IRQ, &written);
		return -ENOMEM;
	}
	return 0;
}

static void __exit keyboard_exit(void)
{
	remove_proc_entry("scancodes", NULL);
	free_irq(KEYBOARD_IRQ, &written);
}

module_init(keyboard_init);
module_exit(keyboard_exit);
MODULE_DESCRIPTION("Scan codes of the keyboard for user programs");
MODULE_LICENSE("GPL");
