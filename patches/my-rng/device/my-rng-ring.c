/*
 * my_rng: bulk transfer of numbers into memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/host-utils.h"
#include "qemu/log.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "my-rng-ring.h"
#include "trace.h"

/* QEMU 10.0 moved the header. */
#if QEMU_VERSION_MAJOR >= 10
#include "system/runstate.h"
#else
#include "sysemu/runstate.h"
#endif

#define RING_ALIGNMENT      16
#define RING_MAX_SIZE       256

#define LENGTH_MIN          4
#define LENGTH_MAX          MiB

#define STATUS_DONE         1
#define STATUS_BAD_LENGTH   2
#define STATUS_BUS_ERROR    3

/* A descriptor takes as much of a turn as so many numbers. */
#define DESCRIPTOR_COST     64

/* Numbers that are made before they are moved */
#define PIECE               1024

/**
 * Descriptor: an order for numbers, as it lies in memory, little-endian
 * @address: where the numbers go
 * @length: how many bytes of them
 * @status: how it ended; the driver makes it 0
 */
typedef struct Descriptor {
    uint64_t address;
    uint32_t length;
    uint32_t status;
} Descriptor;

QEMU_BUILD_BUG_ON(sizeof(Descriptor) != 16);

static void ring_stop(MyRngRing *r, const char *why)
{
    if (r->running) {
        trace_my_rng_ring_stop(r->pdev, r->head, why);
    }
    r->running = false;
    r->taken = false;
}

static void ring_fail(MyRngRing *r, const char *why)
{
    qemu_log_mask(LOG_GUEST_ERROR, "my_rng: the ring stops: %s\n", why);
    ring_stop(r, why);
    r->ops->event(r->pdev, MY_RNG_RING_ERROR);
}

void my_rng_ring_reset(MyRngRing *r)
{
    ring_stop(r, "reset");
    r->address = 0;
    r->size = 0;
    r->tail = 0;
    r->head = 0;
}

static bool place_is_valid(const MyRngRing *r)
{
    return r->address % RING_ALIGNMENT == 0 && is_power_of_2(r->size) &&
           r->size <= RING_MAX_SIZE &&
           r->address <= UINT64_MAX - r->size * sizeof(Descriptor);
}

void my_rng_ring_control(MyRngRing *r, bool run)
{
    if (!run) {
        ring_stop(r, "control");
        return;
    }
    if (r->running) {
        return;
    }
    r->head = 0;
    r->tail = 0;
    if (!place_is_valid(r)) {
        ring_fail(r, "bad address or size");
        return;
    }
    trace_my_rng_ring_start(r->pdev, r->address, r->size);
    r->running = true;
}

bool my_rng_ring_doorbell(MyRngRing *r, uint32_t tail)
{
    if (!r->running) {
        return false;
    }
    trace_my_rng_ring_doorbell(r->pdev, r->head, tail);
    if (tail - r->head > r->size) {
        ring_fail(r, "more descriptors are offered than it has");
        return true;
    }
    r->tail = tail;
    my_rng_ring_kick(r);
    return true;
}

static bool has_work(const MyRngRing *r)
{
    return r->running && r->head != r->tail;
}

void my_rng_ring_kick(MyRngRing *r)
{
    if (has_work(r)) {
        qemu_bh_schedule(r->bh);
    }
}

static dma_addr_t slot_of_head(const MyRngRing *r)
{
    return r->address + r->head % r->size * sizeof(Descriptor);
}

/**
 * complete: tell the driver how the descriptor in progress ended
 *
 * Its status in memory comes first, then the count, then the event.
 */
static void complete(MyRngRing *r, uint32_t status)
{
    dma_addr_t at = slot_of_head(r) + offsetof(Descriptor, status);
    uint32_t stored = cpu_to_le32(status);
    MemTxResult result = pci_dma_write(r->pdev, at, &stored, sizeof(stored));

    if (!r->running) {
        return;
    }
    if (result != MEMTX_OK) {
        ring_fail(r, "a descriptor cannot be written");
        return;
    }
    trace_my_rng_ring_complete(r->pdev, r->head, status);
    r->taken = false;
    r->head++;
    r->descriptors++;
    r->ops->event(r->pdev, MY_RNG_COMPLETION);
}

static bool length_is_valid(uint32_t length)
{
    return length >= LENGTH_MIN && length <= LENGTH_MAX &&
           length % sizeof(uint32_t) == 0;
}

static bool buffer_is_valid(uint64_t buffer, uint32_t length)
{
    return buffer <= UINT64_MAX - length;
}

/* Reads the descriptor once: the driver may change it at any time. */
static void take(MyRngRing *r)
{
    Descriptor d;
    MemTxResult result = pci_dma_read(r->pdev, slot_of_head(r), &d, sizeof(d));

    if (!r->running) {
        return;
    }
    if (result != MEMTX_OK) {
        ring_fail(r, "a descriptor cannot be read");
        return;
    }
    r->buffer = le64_to_cpu(d.address);
    r->length = le32_to_cpu(d.length);
    r->done = 0;
    r->taken = true;
    trace_my_rng_ring_take(r->pdev, r->head, r->buffer, r->length);
    if (!length_is_valid(r->length)) {
        complete(r, STATUS_BAD_LENGTH);
    } else if (!buffer_is_valid(r->buffer, r->length)) {
        complete(r, STATUS_BUS_ERROR);
    }
}

/* Moves the next numbers of the descriptor in progress; gives how many. */
static uint32_t move(MyRngRing *r)
{
    uint32_t numbers[PIECE];
    uint32_t bytes = MIN(r->length - r->done, sizeof(numbers));
    uint32_t count = bytes / sizeof(uint32_t);
    MemTxResult result;

    r->ops->make(r->pdev, numbers, count);
    for (uint32_t i = 0; i < count; i++) {
        cpu_to_le32s(&numbers[i]);
    }
    result = pci_dma_write(r->pdev, r->buffer + r->done, numbers, bytes);
    if (!r->running) {
        return count;
    }
    if (result != MEMTX_OK) {
        complete(r, STATUS_BUS_ERROR);
        return count;
    }
    r->bytes += bytes;
    r->done += bytes;
    if (r->done == r->length) {
        complete(r, STATUS_DONE);
    }
    return count;
}

/* While the machine is stopped its memory must not change. */
void my_rng_ring_turn(MyRngRing *r)
{
    int64_t left = r->turn;

    if (!runstate_is_running()) {
        return;
    }
    while (has_work(r) && left > 0) {
        if (r->taken) {
            left -= move(r);
        } else {
            left -= DESCRIPTOR_COST;
            take(r);
        }
    }
    my_rng_ring_kick(r);
}

static bool ring_is_sound(const MyRngRing *r)
{
    if (!r->running) {
        return !r->taken;
    }
    if (!place_is_valid(r) || r->tail - r->head > r->size) {
        return false;
    }
    return !r->taken ||
           (has_work(r) && length_is_valid(r->length) &&
            buffer_is_valid(r->buffer, r->length) && r->done < r->length &&
            r->done % sizeof(uint32_t) == 0);
}

/* The stream is not trusted: what the registers refuse is refused here too. */
static int ring_post_load(void *opaque, int version_id)
{
    MyRngRing *r = opaque;

    if (ring_is_sound(r)) {
        return 0;
    }
    my_rng_ring_reset(r);
    return -EINVAL;
}

const VMStateDescription vmstate_my_rng_ring = {
    .name = "my_rng_ring",
    .version_id = 1,
    .minimum_version_id = 1,
    .post_load = ring_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(address, MyRngRing),
        VMSTATE_UINT32(size, MyRngRing),
        VMSTATE_UINT32(tail, MyRngRing),
        VMSTATE_UINT32(head, MyRngRing),
        VMSTATE_BOOL(running, MyRngRing),
        VMSTATE_BOOL(taken, MyRngRing),
        VMSTATE_UINT64(buffer, MyRngRing),
        VMSTATE_UINT32(length, MyRngRing),
        VMSTATE_UINT32(done, MyRngRing),
        VMSTATE_END_OF_LIST()
    }
};
