// SPDX-License-Identifier: GPL-2.0
/*
 * hello: a module that says when it comes and when it goes
 */

#include <linux/init.h>
#include <linux/module.h>
#include <linux/printk.h>

static int __init hello_init(void)
{
	pr_info("Hello, world!\n");
	return 0;
}

static void __exit hello_exit(void)
{
	pr_info("Unloading module!\n");
}

module_init(hello_init);
module_exit(hello_exit);

MODULE_DESCRIPTION("Says when it comes and when it goes");
MODULE_VERSION("1.0");
MODULE_LICENSE("GPL");
