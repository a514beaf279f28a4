// SPDX-License-Identifier: GPL-2.0
/*
 * ioctl_test: an entry of /proc with one ioctl
 *
 * /proc/ioctl_test may be opened for reading by everybody. Its command
 *
 *   IOCTL_TEST = _IOW(0, 6, struct { int field1; char field2; })
 *
 * logs both fields: "ioctl: call to IOCTL_TEST (10,a)!". Any other command fails
 * with EINVAL, a bad address with EFAULT; neither logs anything. A field2 that
 * is no printable character is logged as an octal escape sequence, so that
 * nobody can forge lines of the log.
 *
 * The entry may be open while the module is removed: procfs lets calls that are
 * under way finish, and refuses later ones.
 */

#include <linux/ctype.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/ioctl.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/proc_fs.h>
#include <linux/stat.h>
#include <linux/uaccess.h>

#define IOCTL_TEST_NAME	"ioctl_test"

struct ioctl_test_fields {
	int field1;
	char field2;
};

#define IOCTL_TEST	_IOW(0, 6, struct ioctl_test_fields)

static struct proc_dir_entry *ioctl_test_entry;

static long ioctl_test_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	struct ioctl_test_fields fields;

	if (command != IOCTL_TEST)
		return -EINVAL;
	if (copy_from_user(&fields, (const void __user *)arg, sizeof(fields)))
		return -EFAULT;
	if (isascii(fields.field2) && isprint(fields.field2))
		pr_info("ioctl: call to IOCTL_TEST (%d,%c)!\n", fields.field1, fields.field2);
	else
		pr_info("ioctl: call to IOCTL_TEST (%d,\\%03o)!\n", fields.field1,
			(unsigned char)fields.field2);
	return 0;
}

static const struct proc_ops ioctl_test_ops = {
	.proc_ioctl = ioctl_test_ioctl,
	.proc_lseek = noop_llseek,
};

static int __init ioctl_test_init(void)
{
	ioctl_test_entry = proc_create(IOCTL_TEST_NAME, 0444, NULL, &ioctl_test_ops);
	return ioctl_test_entry ? 0 : -ENOMEM;
}

static void __exit ioctl_test_exit(void)
{
	proc_remove(ioctl_test_entry);
}

module_init(ioctl_test_init);
module_exit(ioctl_test_exit);

MODULE_DESCRIPTION("An entry of /proc with one ioctl");
MODULE_VERSION("1.0");
MODULE_LICENSE("GPL");
