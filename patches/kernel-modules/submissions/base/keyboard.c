// SPDX-License-Identifier: GPL-2.0
/*
 * Lab 3, part 3: every key that is pressed or released interrupts. The handler
 * keeps its scan code, and each reader of /dev/keyscan gets all of them.
 */
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
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

static int keyscan_open(struct inode *inode, struct file *file)
{
	unsigned int *position = kmalloc(sizeof(*position), GFP_KERNEL);

	if (!position)
		return -ENOMEM;
	*position = READ_ONCE(written);
	file->private_data = position;
	return 0;
}

static int keyscan_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static ssize_t keyscan_read(struct file *file, char __user *to, size_t count, loff_t *offset)
{
	unsigned int *position = file->private_data;
	size_t done = 0;

	if (wait_event_interruptible(key_queue, *position != READ_ONCE(written)))
		return -ERESTARTSYS;
	while (done < count && *position != READ_ONCE(written)) {
		unsigned char code = buffer[*position % SIZE];

		if (copy_to_user(to + done, &code, 1))
			return -EFAULT;
		(*position)++;
		done++;
	}
	return done;
}

static const struct file_operations keyscan_fops = {
	.owner = THIS_MODULE,
	.open = keyscan_open,
	.release = keyscan_release,
	.read = keyscan_read,
};

static struct miscdevice keyscan = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "keyscan",
	.fops = &keyscan_fops,
};

static int __init keyboard_init(void)
{
	int error;

	error = request_irq(KEYBOARD_IRQ, keyboard_handler, IRQF_SHARED, "keyscan", &keyscan);
	if (error)
		return error;
	error = misc_register(&keyscan);
	if (error)
		free_irq(KEYBOARD_IRQ, &keyscan);
	return error;
}

static void __exit keyboard_exit(void)
{
	misc_deregister(&keyscan);
	free_irq(KEYBOARD_IRQ, &keyscan);
}

module_init(keyboard_init);
module_exit(keyboard_exit);
MODULE_DESCRIPTION("Scan codes of the keyboard for user programs");
MODULE_LICENSE("GPL");
