// SPDX-License-Identifier: GPL-2.0
/*
 * Numbers out of a my_rng device: by its 32-bit register, by its 64-bit
 * register, or in bulk, which it writes into memory by itself.
 */

#include <linux/compiler.h>
#include <linux/dma-mapping.h>
#include <linux/errno.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/math.h>
#include <linux/minmax.h>

#include "my-rng-pci.h"

/* Bytes from which a transfer takes less time than as many register reads. */
#define MY_RNG_BULK_FROM	1024

/* Bytes from registers in one go: others wait meanwhile, also those who kill. */
#define MY_RNG_MAX_REGISTERS	1024

/* Seconds: a transfer takes well under one of their thousands, if all is well. */
#define MY_RNG_PATIENCE		5

/**
 * my_rng_has_path - tell whether the device can give numbers in this way
 * @rng: the device
 * @path: one of MY_RNG_PATH_*
 */
bool my_rng_has_path(const struct my_rng *rng, unsigned int path)
{
	if (path == MY_RNG_PATH_WIDE)
		return rng->features & MY_RNG_FEATURE_WIDE;
	if (path == MY_RNG_PATH_BULK)
		return rng->features & MY_RNG_FEATURE_BULK;
	return true;
}

static unsigned int my_rng_quickest(const struct my_rng *rng, size_t wanted)
{
	if (wanted >= MY_RNG_BULK_FROM && my_rng_has_path(rng, MY_RNG_PATH_BULK))
		return MY_RNG_PATH_BULK;
	if (wanted > sizeof(u32) && my_rng_has_path(rng, MY_RNG_PATH_WIDE))
		return MY_RNG_PATH_WIDE;
	return MY_RNG_PATH_NARROW;
}

static size_t my_rng_draw_narrow(struct my_rng *rng, __le32 *to, size_t wanted)
{
	const size_t count = DIV_ROUND_UP(min_t(size_t, wanted, MY_RNG_MAX_REGISTERS),
					  sizeof(*to));
	size_t i;

	for (i = 0; i < count; i++)
		to[i] = cpu_to_le32(readl(rng->regs + MY_RNG_REG_RNG));
	return count * sizeof(*to);
}

static size_t my_rng_draw_wide(struct my_rng *rng, __le32 *to, size_t wanted)
{
	const size_t count = DIV_ROUND_UP(min_t(size_t, wanted, MY_RNG_MAX_REGISTERS),
					  sizeof(u64));
	size_t i;
	u64 two;

	for (i = 0; i < count; i++) {
		two = readq(rng->regs + MY_RNG_REG_RNG64);
		*to++ = cpu_to_le32(lower_32_bits(two));
		*to++ = cpu_to_le32(upper_32_bits(two));
	}
	return count * sizeof(two);
}

/**
 * my_rng_ring_start - let the device take descriptors, from the first one on
 * @rng: a device that can transfer in bulk; @rng->lock is held, or nobody else
 *	knows it yet
 */
void my_rng_ring_start(struct my_rng *rng)
{
	rng->tail = 0;
	WRITE_ONCE(rng->done, false);
	WRITE_ONCE(rng->ring_error, false);
	writel(MY_RNG_IRQ_ALL, rng->regs + MY_RNG_REG_IRQ_STATUS);
	writeq(rng->ring_address, rng->regs + MY_RNG_REG_RING_ADDRESS);
	writel(MY_RNG_RING_SIZE, rng->regs + MY_RNG_REG_RING_SIZE);
	writel(MY_RNG_CONTROL_RUN, rng->regs + MY_RNG_REG_CONTROL);
}

/**
 * my_rng_ring_stop - cancel whatever is under way
 * @rng: as for my_rng_ring_start()
 *
 * Afterwards the device writes nowhere.
 */
void my_rng_ring_stop(struct my_rng *rng)
{
	writel(0, rng->regs + MY_RNG_REG_CONTROL);
	/* A write may be under way; the answer to a read comes after it. */
	readl(rng->regs + MY_RNG_REG_CONTROL);
}

/**
 * my_rng_is_lost - tell whether the device is gone, as its driver or the bus say
 * @rng: the device
 *
 * Who reads may be the first to notice that a device was pulled out: the bus
 * answers for it, with all ones. Two who notice at once both say so.
 */
bool my_rng_is_lost(struct my_rng *rng)
{
	if (READ_ONCE(rng->gone))
		return true;
	if (pci_device_is_present(rng->pdev))
		return false;
	dev_warn(&rng->dev, "the device was pulled out\n");
	WRITE_ONCE(rng->gone, true);
	wake_up_all(&rng->events);
	return true;
}

static u32 my_rng_status(const struct my_rng_descriptor *descriptor)
{
	return le32_to_cpu(READ_ONCE(descriptor->status));
}

static bool my_rng_ended(const struct my_rng *rng,
			 const struct my_rng_descriptor *descriptor)
{
	return (READ_ONCE(rng->done) &&
		my_rng_status(descriptor) != MY_RNG_STATUS_PENDING) ||
	       READ_ONCE(rng->ring_error) || READ_ONCE(rng->gone);
}

/* Why a transfer gave nothing; @left is what waiting for it returned. */
static int my_rng_reason(struct my_rng *rng,
			 const struct my_rng_descriptor *descriptor, long left)
{
	if (my_rng_is_lost(rng))
		return -ENODEV;
	if (left < 0)
		return left;
	dev_err_ratelimited(&rng->dev, "no bulk transfer: %s (status %u)\n",
			    READ_ONCE(rng->ring_error) ? "ring error" :
			    left ? "error" : "no interrupt",
			    my_rng_status(descriptor));
	return -EIO;
}

/* Looks from time to time whether the device is still there to be waited for. */
static long my_rng_wait(struct my_rng *rng,
			const struct my_rng_descriptor *descriptor)
{
	long left = 0;
	int i;

	for (i = 0; i < MY_RNG_PATIENCE && !left; i++) {
		left = wait_event_killable_timeout(rng->events,
						   my_rng_ended(rng, descriptor),
						   HZ);
		if (!left && my_rng_is_lost(rng))
			break;
	}
	return left;
}

/*
 * Only a deadly signal ends the wait: a transfer that is cancelled takes the
 * numbers with it that the device has made, and none should be missing for a
 * signal that was to be handled.
 */
static int my_rng_transfer(struct my_rng *rng, dma_addr_t address, u32 length)
{
	struct my_rng_descriptor *descriptor =
		&rng->ring[rng->tail % MY_RNG_RING_SIZE];
	long left;
	int ret;

	descriptor->address = cpu_to_le64(address);
	descriptor->length = cpu_to_le32(length);
	descriptor->status = cpu_to_le32(MY_RNG_STATUS_PENDING);
	/* The interrupt of the last transfer was waited for: none is under way. */
	WRITE_ONCE(rng->done, false);
	/* This also makes the device see the descriptor. */
	writel(++rng->tail, rng->regs + MY_RNG_REG_RING_TAIL);

	left = my_rng_wait(rng, descriptor);
	if (left > 0 && my_rng_status(descriptor) == MY_RNG_STATUS_DONE) {
		/* What the device wrote before the status is read after it. */
		dma_rmb();
		return 0;
	}

	ret = my_rng_reason(rng, descriptor, left);
	my_rng_ring_stop(rng);
	if (!READ_ONCE(rng->gone))
		my_rng_ring_start(rng);
	return ret;
}

static ssize_t my_rng_draw_bulk(struct my_rng *rng, __le32 *to, size_t wanted)
{
	const size_t length = round_up(min_t(size_t, wanted, MY_RNG_MAX_BULK),
				       sizeof(*to));
	struct device *dma = &rng->pdev->dev;
	dma_addr_t address;
	int ret;

	address = dma_map_single(dma, to, length, DMA_FROM_DEVICE);
	if (dma_mapping_error(dma, address))
		return -ENOMEM;

	ret = my_rng_transfer(rng, address, length);
	dma_unmap_single(dma, address, length, DMA_FROM_DEVICE);
	return ret ? ret : length;
}

static ssize_t my_rng_draw_locked(struct my_rng *rng, unsigned int path,
				  __le32 *to, size_t wanted)
{
	size_t got;

	if (READ_ONCE(rng->gone))
		return -ENODEV;

	if (path == MY_RNG_PATH_AUTO)
		path = my_rng_quickest(rng, wanted);
	if (path == MY_RNG_PATH_BULK)
		return my_rng_draw_bulk(rng, to, wanted);

	got = path == MY_RNG_PATH_WIDE ? my_rng_draw_wide(rng, to, wanted) :
					 my_rng_draw_narrow(rng, to, wanted);

	/* What the bus answers may also be a number. */
	if (to[got / sizeof(*to) - 1] == cpu_to_le32(~0) && my_rng_is_lost(rng))
		return -ENODEV;
	return got;
}

/**
 * my_rng_draw - get numbers out of the device
 * @rng: the device
 * @path: one of MY_RNG_PATH_* that the device has
 * @to: memory that can be mapped for DMA if the path may be bulk; it has room
 *	for @wanted bytes, rounded up to a multiple of 8
 * @wanted: how many bytes are of use, at least one
 * @epoch: set to the number of seeds before these numbers
 *
 * Return: how many bytes of whole numbers were drawn, some more than wanted or
 * less; -ENODEV when the device is gone, -EIO when it does not do its work,
 * -ERESTARTSYS after a signal, and nothing is lost then unless it was deadly.
 */
ssize_t my_rng_draw(struct my_rng *rng, unsigned int path, __le32 *to,
		    size_t wanted, u32 *epoch)
{
	ssize_t ret;

	if (mutex_lock_interruptible(&rng->lock))
		return -ERESTARTSYS;
	*epoch = rng->epoch;
	ret = my_rng_draw_locked(rng, path, to, wanted);
	mutex_unlock(&rng->lock);
	return ret;
}

/**
 * my_rng_seed - start the sequence of a seed
 * @rng: the device
 * @seed: the seed
 */
int my_rng_seed(struct my_rng *rng, u32 seed)
{
	int ret = -ENODEV;

	if (mutex_lock_interruptible(&rng->lock))
		return -ERESTARTSYS;
	if (!READ_ONCE(rng->gone)) {
		writel(seed, rng->regs + MY_RNG_REG_SEED);
		WRITE_ONCE(rng->epoch, rng->epoch + 1);
		ret = 0;
	}
	mutex_unlock(&rng->lock);
	return ret;
}
