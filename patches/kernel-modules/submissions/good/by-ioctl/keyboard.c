// SPDX-License-Identifier: GPL-2.0
/*
 * Lab 3, part 3: every key that is pressed or released interrupts. The handler
 * keeps its scan code, and GET_SCANCODE on the device keycodes gives each program the next.
 */
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#define KEYBOARD_IRQ 1
#define KEYBOARD_DATA 0x60
#define SIZE 512
#define GET_SCANCODE _IOR(0, 7, int)

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

static int keycodes_open(struct inode *inode, struct file *file)
{
	unsigned int *position = kmalloc(sizeof(*position), GFP_KERNEL);

	if (!position)
		return -ENOMEM;
	*position = READ_ONCE(written);
	file->private_data = position;
	return 0;
}

static int keycodes_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static long keycodes_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	unsigned int *position = file->private_data;
	int code;

	if (cmd != GET_SCANCODE)
		return -EINVAL;
	if (wait_event_interruptible(key_queue, *position != READ_ONCE(written)))
		return -ERESTARTSYS;
	code = buffer[*position % SIZE];
	if (copy_to_user((int __user *)arg, &code, sizeof(code)))
		return -EFAULT;
	(*position)++;
	return 0;
}

static const struct file_operations keycodes_fops = {
	.owner = THIS_MODULE,
	.open = keycodes_open,
	.release = keycodes_release,
	.unlocked_ioctl = keycodes_ioctl,
};

static int major;

static int __init keyboard_init(void)
{
	int error;

	error = request_irq(KEYBOARD_IRQ, keyboard_handler, IRQF_SHARED, "keycodes", &major);
	if (error)
		return error;
	major = register_chrdev(0, "keycodes", &keycodes_fops);
	if (major < 0) {
		free_irq(KEYBOARD_IRQ, &major);
		return major;
	}
	pr_info("mknod /dev/keycodes c %d 0\n", major);
	return 0;
}

static void __exit keyboard_exit(void)
{
	unregister_chrdev(major, "keycodes");
	free_irq(KEYBOARD_IRQ, &major);
}

module_init(keyboard_init);
module_exit(keyboard_exit);
MODULE_DESCRIPTION("Scan codes of the keyboard for user programs");
MODULE_LICENSE("GPL");
