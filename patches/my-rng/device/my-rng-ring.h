/*
 * my_rng: bulk transfer of numbers into memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_MISC_MY_RNG_RING_H
#define HW_MISC_MY_RNG_RING_H

#include "qemu/bitops.h"
#include "hw/pci/pci_device.h"
#include "migration/vmstate.h"

/* Events, as the interrupt registers have them */
#define MY_RNG_COMPLETION   BIT(0)
#define MY_RNG_RING_ERROR   BIT(1)

/**
 * MyRngRingOps: what a ring needs of its device
 * @make: give the next numbers
 * @event: record an event and interrupt
 */
typedef struct MyRngRingOps {
    void (*make)(PCIDevice *pdev, uint32_t *numbers, size_t count);
    void (*event)(PCIDevice *pdev, uint32_t event);
} MyRngRingOps;

/**
 * MyRngRing: a ring of descriptors in memory, and how far it is worked through
 * @address: bus address of the descriptors
 * @size: number of descriptors
 * @tail: how many were offered since the start
 * @head: how many are completed
 * @running: between start and stop
 * @taken: the descriptor @head is in progress; @buffer, @length, @done are its
 * @buffer: where its numbers go
 * @length: how many bytes
 * @done: how many bytes are there already
 * @bytes: how many were ever moved
 * @descriptors: how many were ever completed
 * @turn: how many numbers may be made in one turn
 * @bh: calls my_rng_ring_turn()
 */
typedef struct MyRngRing {
    uint64_t address;
    uint32_t size;
    uint32_t tail;
    uint32_t head;
    bool running;
    bool taken;
    uint64_t buffer;
    uint32_t length;
    uint32_t done;
    uint64_t bytes;
    uint64_t descriptors;
    uint32_t turn;
    PCIDevice *pdev;
    const MyRngRingOps *ops;
    QEMUBH *bh;
} MyRngRing;

/* Without @bh, which is not migrated, and the counters */
extern const VMStateDescription vmstate_my_rng_ring;

/* Cancel what is not completed, and forget all registers. */
void my_rng_ring_reset(MyRngRing *r);

/* Start, or cancel what is not completed. */
void my_rng_ring_control(MyRngRing *r, bool run);

/* Offer all descriptors up to the count @tail; false when the ring stands. */
bool my_rng_ring_doorbell(MyRngRing *r, uint32_t tail);

/* Let the bottom half run when there is work. */
void my_rng_ring_kick(MyRngRing *r);

/**
 * my_rng_ring_turn: work for a while, and kick again when something is left
 *
 * In a machine that is stopped nothing happens until the next kick.
 *
 * Every access to memory may end in another device, which may reset or unplug
 * this one: the ring is then stopped when the access returns. What is unplugged
 * is freed by RCU, so not before the lock that the caller holds is released.
 */
void my_rng_ring_turn(MyRngRing *r);

#endif /* HW_MISC_MY_RNG_RING_H */
