// SPDX-License-Identifier: GPL-2.0
/*
 * Driver of all my_rng PCI devices of a machine, QEMU's random number generator
 * for teaching, with everything that an extended device can do
 *
 * Each device has a node /dev/my_rngN (see my-rng.h) and is one of the kernel's
 * sources, my_rng.N. All that belongs to a device is managed: the kernel gives
 * it back in reverse order when the device or the driver goes, or when probing
 * fails half-way. Files that are open then stay, and fail with ENODEV.
 *
 * Kernels 6.1 to 6.12 are served by the same source.
 */

#include <linux/compiler.h>
#include <linux/dma-mapping.h>
#include <linux/errno.h>
#include <linux/idr.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/kdev_t.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "my-rng-pci.h"

#define MY_RNG_VENDOR_ID	0x1234
#define MY_RNG_DEVICE_ID	0xcafe
#define MY_RNG_BAR		0
#define MY_RNG_MAX_DEVICES	64

static bool hwrng = true;
module_param(hwrng, bool, 0444);
MODULE_PARM_DESC(hwrng, "Offer the devices to the kernel as random number generators; the one in use gives it a few numbers every minute (default: yes)");

static dev_t my_rng_first;
static DEFINE_IDA(my_rng_minors);

/* Its files can be opened by root alone: who seeds disturbs all others. */
static struct class my_rng_class = {
	.name = "my_rng",
};

static irqreturn_t my_rng_interrupt(int irq, void *data)
{
	struct my_rng *rng = data;
	u32 status = readl(rng->regs + MY_RNG_REG_IRQ_STATUS);

	/* The line may be another device's; all ones come from no device. */
	if (!(status & MY_RNG_IRQ_ALL) || status == ~0)
		return IRQ_NONE;

	writel(status, rng->regs + MY_RNG_REG_IRQ_STATUS);
	if (status & MY_RNG_IRQ_DONE)
		WRITE_ONCE(rng->done, true);
	if (status & MY_RNG_IRQ_RING_ERROR)
		WRITE_ONCE(rng->ring_error, true);
	wake_up(&rng->events);
	return IRQ_HANDLED;
}

/*
 * The kernel asks for bytes that a later reader of /dev/hwrng may want, and for
 * some that it stirs into its own pool.
 */
static int my_rng_hwrng_read(struct hwrng *source, void *to, size_t size,
			     bool wait)
{
	struct my_rng *rng = container_of(source, struct my_rng, hwrng);
	const bool wide = my_rng_has_path(rng, MY_RNG_PATH_WIDE);
	u32 epoch;

	if (size < sizeof(u64))
		return -EINVAL;
	return my_rng_draw(rng, wide ? MY_RNG_PATH_WIDE : MY_RNG_PATH_NARROW,
			   to, round_down(size, sizeof(u64)), &epoch);
}

static int my_rng_add_hwrng(struct my_rng *rng)
{
	struct device *dev = &rng->pdev->dev;

	if (!hwrng)
		return 0;

	rng->hwrng.name = devm_kasprintf(dev, GFP_KERNEL, "my_rng.%d",
					 MINOR(rng->dev.devt));
	if (!rng->hwrng.name)
		return -ENOMEM;
	rng->hwrng.read = my_rng_hwrng_read;
	/*
	 * Who knows the seed knows all numbers, so none may count as entropy.
	 * Since 6.2 zero means full trust; 1 is a bit in 1024.
	 */
	rng->hwrng.quality = 1;
	return devm_hwrng_register(dev, &rng->hwrng);
}

static void my_rng_del_node(void *data)
{
	struct my_rng *rng = data;

	cdev_device_del(&rng->cdev, &rng->dev);
}

static int my_rng_add_node(struct my_rng *rng)
{
	int ret;

	cdev_init(&rng->cdev, &my_rng_fops);
	rng->cdev.owner = THIS_MODULE;
	ret = cdev_device_add(&rng->cdev, &rng->dev);
	if (ret)
		return ret;
	return devm_add_action_or_reset(&rng->pdev->dev, my_rng_del_node, rng);
}

/* Wakes who waits for the device, and waits for who uses it; nobody does later. */
static void my_rng_leave(void *data)
{
	struct my_rng *rng = data;

	WRITE_ONCE(rng->gone, true);
	wake_up_all(&rng->events);

	mutex_lock(&rng->lock);
	if (my_rng_has_path(rng, MY_RNG_PATH_BULK)) {
		my_rng_ring_stop(rng);
		writel(0, rng->regs + MY_RNG_REG_IRQ_ENABLE);
	}
	mutex_unlock(&rng->lock);

	/* Expedited: a machine may have many devices, and unloading takes all. */
	synchronize_rcu_expedited();
}

/* Memory for the ring, an interrupt, and the device may write into memory. */
static int my_rng_prepare_bulk(struct my_rng *rng)
{
	struct pci_dev *pdev = rng->pdev;
	int ret;

	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	rng->ring = dmam_alloc_coherent(&pdev->dev,
					MY_RNG_RING_SIZE * sizeof(*rng->ring),
					&rng->ring_address, GFP_KERNEL);
	if (!rng->ring)
		return -ENOMEM;
	pci_set_master(pdev);

	ret = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_ALL_TYPES);
	if (ret < 0)
		return ret;
	ret = devm_request_irq(&pdev->dev, pci_irq_vector(pdev, 0),
			       my_rng_interrupt,
			       pci_dev_msi_enabled(pdev) ? 0 : IRQF_SHARED,
			       dev_name(&rng->dev), rng);
	if (ret)
		return ret;

	my_rng_ring_start(rng);
	writel(MY_RNG_IRQ_ALL, rng->regs + MY_RNG_REG_IRQ_ENABLE);
	return 0;
}

/*
 * A basic device has no interrupt pin, and is never asked for registers that it
 * does not have. The others want accesses of 64 bits, each in one piece.
 */
static u32 my_rng_features(struct my_rng *rng)
{
	u32 features;
	u8 pin = 0;

	pci_read_config_byte(rng->pdev, PCI_INTERRUPT_PIN, &pin);
	if (!pin || !IS_ENABLED(CONFIG_64BIT))
		return 0;
	features = readl(rng->regs + MY_RNG_REG_FEATURES);
	return features >> MY_RNG_VERSION_SHIFT == MY_RNG_VERSION ? features : 0;
}

static int my_rng_prepare(struct my_rng *rng)
{
	struct pci_dev *pdev = rng->pdev;
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	if (pci_resource_len(pdev, MY_RNG_BAR) < PAGE_SIZE)
		return -ENODEV;
	ret = pcim_iomap_regions(pdev, BIT(MY_RNG_BAR), MY_RNG_NAME);
	if (ret)
		return ret;

	rng->regs = pcim_iomap_table(pdev)[MY_RNG_BAR];
	rng->features = my_rng_features(rng);
	if (my_rng_has_path(rng, MY_RNG_PATH_BULK)) {
		ret = my_rng_prepare_bulk(rng);
		if (ret)
			return ret;
	}
	return devm_add_action_or_reset(&pdev->dev, my_rng_leave, rng);
}

static void my_rng_free(struct device *dev)
{
	struct my_rng *rng = container_of(dev, struct my_rng, dev);

	pci_dev_put(rng->pdev);
	kfree(rng);
}

/* The first reference; open files have theirs. */
static void my_rng_put(void *data)
{
	struct my_rng *rng = data;

	ida_free(&my_rng_minors, MINOR(rng->dev.devt));
	put_device(&rng->dev);
}

static bool my_rng_is_before(struct pci_dev *a, struct pci_dev *b)
{
	const int domain = pci_domain_nr(a->bus) - pci_domain_nr(b->bus);

	return domain ? domain < 0 : pci_dev_id(a) < pci_dev_id(b);
}

/*
 * Nodes have the order of the devices' addresses, though the kernel has that of
 * their coming: who plugs a device out and in again finds it under its name.
 */
static int my_rng_get_minor(struct pci_dev *pdev)
{
	struct pci_dev *other = NULL;
	unsigned int before = 0;

	while ((other = pci_get_device(MY_RNG_VENDOR_ID, MY_RNG_DEVICE_ID, other)))
		before += my_rng_is_before(other, pdev);
	return ida_alloc_range(&my_rng_minors, before, MY_RNG_MAX_DEVICES - 1,
			       GFP_KERNEL);
}

static struct my_rng *my_rng_create(struct pci_dev *pdev)
{
	struct my_rng *rng;
	int minor;
	int ret;

	minor = my_rng_get_minor(pdev);
	if (minor < 0)
		return ERR_PTR(minor);
	rng = kzalloc(sizeof(*rng), GFP_KERNEL);
	if (!rng) {
		ida_free(&my_rng_minors, minor);
		return ERR_PTR(-ENOMEM);
	}

	rng->pdev = pci_dev_get(pdev);
	mutex_init(&rng->lock);
	init_waitqueue_head(&rng->events);
	device_initialize(&rng->dev);
	rng->dev.class = &my_rng_class;
	rng->dev.parent = &pdev->dev;
	rng->dev.release = my_rng_free;
	rng->dev.devt = MKDEV(MAJOR(my_rng_first), minor);

	ret = devm_add_action_or_reset(&pdev->dev, my_rng_put, rng);
	if (!ret)
		ret = dev_set_name(&rng->dev, "my_rng%d", minor);
	return ret ? ERR_PTR(ret) : rng;
}

static int my_rng_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct my_rng *rng = my_rng_create(pdev);
	int ret;

	if (IS_ERR(rng))
		return PTR_ERR(rng);
	ret = my_rng_prepare(rng);
	if (ret)
		return ret;
	ret = my_rng_add_node(rng);
	if (ret)
		return ret;
	ret = my_rng_add_hwrng(rng);
	if (ret)
		return ret;

	dev_info(&pdev->dev, "%s: 32-bit register%s%s\n", dev_name(&rng->dev),
		 my_rng_has_path(rng, MY_RNG_PATH_WIDE) ? ", 64-bit register" : "",
		 !my_rng_has_path(rng, MY_RNG_PATH_BULK) ? "" :
		 pci_dev_msi_enabled(pdev) ? ", bulk with MSI" : ", bulk with INTx");
	return 0;
}

static const struct pci_device_id my_rng_ids[] = {
	{ PCI_DEVICE(MY_RNG_VENDOR_ID, MY_RNG_DEVICE_ID) },
	{ }
};
MODULE_DEVICE_TABLE(pci, my_rng_ids);

static struct pci_driver my_rng_driver = {
	.name = MY_RNG_NAME,
	.id_table = my_rng_ids,
	.probe = my_rng_probe,
};

static int __init my_rng_init(void)
{
	int ret;

	ret = alloc_chrdev_region(&my_rng_first, 0, MY_RNG_MAX_DEVICES, MY_RNG_NAME);
	if (ret)
		return ret;
	ret = class_register(&my_rng_class);
	if (ret)
		goto unregister_numbers;
	ret = pci_register_driver(&my_rng_driver);
	if (ret)
		goto unregister_class;
	return 0;

unregister_class:
	class_unregister(&my_rng_class);
unregister_numbers:
	unregister_chrdev_region(my_rng_first, MY_RNG_MAX_DEVICES);
	return ret;
}
module_init(my_rng_init);

static void __exit my_rng_exit(void)
{
	pci_unregister_driver(&my_rng_driver);
	class_unregister(&my_rng_class);
	unregister_chrdev_region(my_rng_first, MY_RNG_MAX_DEVICES);
	ida_destroy(&my_rng_minors);
}
module_exit(my_rng_exit);

MODULE_DESCRIPTION("Driver of my_rng PCI devices with 64-bit reads, bulk transfer and hwrng");
MODULE_VERSION("1.0");
MODULE_LICENSE("GPL");
