/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The parts of the module my_rng_pci: my-rng-pci.c finds devices and takes
 * their interrupts, my-rng-draw.c gets numbers out of them, my-rng-file.c gives
 * them to programs.
 */

#ifndef MY_RNG_PCI_H
#define MY_RNG_PCI_H

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/hw_random.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/types.h>
#include <linux/wait.h>

#include "my-rng.h"

#define MY_RNG_NAME		"my_rng_pci"

/* Registers of BAR 0. All but the first two are those of an extended device. */
#define MY_RNG_REG_RNG		0x00
#define MY_RNG_REG_SEED		0x04
#define MY_RNG_REG_RNG64	0x08
#define MY_RNG_REG_FEATURES	0x10
#define MY_RNG_REG_IRQ_STATUS	0x14
#define MY_RNG_REG_IRQ_ENABLE	0x18
#define MY_RNG_REG_CONTROL	0x1c
#define MY_RNG_REG_RING_ADDRESS	0x20
#define MY_RNG_REG_RING_SIZE	0x28
#define MY_RNG_REG_RING_TAIL	0x2c

#define MY_RNG_FEATURE_WIDE	BIT(0)
#define MY_RNG_FEATURE_BULK	BIT(1)
#define MY_RNG_VERSION_SHIFT	16
#define MY_RNG_VERSION		1

#define MY_RNG_IRQ_DONE		BIT(0)
#define MY_RNG_IRQ_RING_ERROR	BIT(1)
#define MY_RNG_IRQ_ALL		(MY_RNG_IRQ_DONE | MY_RNG_IRQ_RING_ERROR)

#define MY_RNG_CONTROL_RUN	BIT(0)

#define MY_RNG_STATUS_PENDING	0
#define MY_RNG_STATUS_DONE	1

/* One transfer at a time: a few descriptors show that the ring is one. */
#define MY_RNG_RING_SIZE	4

/* Most bytes of one transfer; the device could do 1 MiB. */
#define MY_RNG_MAX_BULK		(64 * 1024)

/**
 * struct my_rng_descriptor - a transfer, as the device reads it
 * @address: where it writes the numbers
 * @length: bytes, a multiple of 4
 * @status: MY_RNG_STATUS_PENDING until it has ended
 */
struct my_rng_descriptor {
	__le64 address;
	__le32 length;
	__le32 status;
};

/**
 * struct my_rng - a device and its node
 * @dev: the node; counts the references to this structure
 * @cdev: leads from the node to the functions of an open file
 * @hwrng: the device as one of the kernel's sources
 * @pdev: the PCI device, valid as long as this structure is
 * @regs: the registers, not to be used once @gone is set
 * @features: what the device can do beyond the basic one
 * @events: waits for a transfer to end, or the device to go
 * @lock: held while the device is used; guards the members below
 * @gone: the driver lets go of the device, or it was pulled out
 * @done: an interrupt told that a transfer has ended
 * @ring_error: the device did not like the ring and has stopped
 * @epoch: how often it was seeded
 * @tail: how many descriptors were offered since the ring was started
 * @ring: the descriptors
 * @ring_address: the same for the device
 *
 * Open files outlive the device. The structure lives until the last of them is
 * closed; whoever holds @lock and finds @gone unset may use the device. Who only
 * reads RNG or RNG64 may do so in an RCU read-side critical section instead.
 */
struct my_rng {
	struct device dev;
	struct cdev cdev;
	struct hwrng hwrng;
	struct pci_dev *pdev;
	void __iomem *regs;
	u32 features;
	wait_queue_head_t events;
	struct mutex lock; /* the device, and what follows */
	bool gone;
	bool done;
	bool ring_error;
	u32 epoch;
	u32 tail;
	struct my_rng_descriptor *ring;
	dma_addr_t ring_address;
};

bool my_rng_has_path(const struct my_rng *rng, unsigned int path);
ssize_t my_rng_draw(struct my_rng *rng, unsigned int path, __le32 *to,
		    size_t wanted, u32 *epoch);
int my_rng_seed(struct my_rng *rng, u32 seed);
bool my_rng_is_lost(struct my_rng *rng);
void my_rng_ring_start(struct my_rng *rng);
void my_rng_ring_stop(struct my_rng *rng);

extern const struct file_operations my_rng_fops;

#endif /* MY_RNG_PCI_H */
