/*
 * my_rng: a PCI random number generator for teaching
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The device is PCI 1234:cafe, revision 0x10, class 0x00ff. Its only BAR,
 * BAR 0, is 4 KiB of 32-bit non-prefetchable memory with two little-endian
 * registers:
 *
 *   0x0  RNG   4 bytes, read-only   each read gives the next random number
 *   0x4  SEED  4 bytes, write-only  a write starts the sequence of that seed
 *
 * Any other access (another offset, another size, writing RNG, reading SEED)
 * reads as 0 or is ignored, leaves the generator alone, and is logged as a
 * guest error (-d guest_errors).
 *
 * With the property "extended" the device has an interrupt pin, a capability
 * for one message (unless "msi" is off), and more registers, of 4 or 8 bytes:
 *
 *   0x08  RNG64         8  RO    the next number, and in the high half the
 *                                one after it
 *   0x10  FEATURES      4  RO    bit 0: RNG64; bit 1: bulk transfer;
 *                                bits 31 to 16: version, 1
 *   0x14  IRQ_STATUS    4  RW1C  bit 0: completion; bit 1: ring error
 *   0x18  IRQ_ENABLE    4  RW    the same bits
 *   0x1c  CONTROL       4  RW    bit 0: run
 *   0x20  RING_ADDRESS  8  RW    of the descriptors in memory; 16-byte aligned
 *   0x28  RING_SIZE     4  RW    descriptors: a power of two, at most 256
 *   0x2c  RING_TAIL     4  RW    how many descriptors were offered
 *   0x30  RING_HEAD     4  RO    how many are completed
 *
 * A driver puts descriptors (see MyRngDescriptor) into the ring, starts it, and
 * writes to RING_TAIL how many there are. The device fills the buffer of each
 * with the next numbers, little-endian, and completes it: it writes the status
 * to the descriptor, counts RING_HEAD up and sets the event "completion".
 * Lengths are multiples of 4 from 4 to 1 MiB. The status is 1 (done), 2 (bad
 * length) or 3 (bus error; the numbers that were under way are lost).
 *
 * Starting sets RING_HEAD and RING_TAIL to 0. Clearing "run", or a reset,
 * cancels what is not completed. While the ring runs, its address and size
 * cannot be written. A ring that has a bad address or size, whose descriptors
 * cannot be reached, or that is offered more descriptors than it has, stops
 * with the event "ring error".
 *
 * Each device has a generator of its own: neither another my_rng nor the rest
 * of QEMU disturbs its sequence. After power-on and after every reset the
 * generator is as if seeded with 1, like that of a C program which never calls
 * srand(). The sequence survives migration and snapshots.
 *
 * The property "algorithm" chooses the generator. Known so far:
 *
 *   libc  the sequence of rand() and srand() of the GNU C library (default);
 *         numbers are below 2^31
 *
 * With the property "key" (16 to 64 hexadecimal digits) the numbers cannot be
 * guessed by anybody who does not know it: number n, counted from 0, after
 * seed s is the first four bytes, little-endian, of HMAC-SHA256 with that key
 * over s (4 bytes, little-endian) and n (8 bytes, little-endian). The key takes
 * the place of the algorithm. After power-on and after every reset s is 0.
 *
 * Read-only properties count since power-on, so that the host can tell whether
 * the guest really asked the device: "reads" and "seeds" the valid reads of RNG
 * and writes of SEED, "wide-reads" those of RNG64, "bulk-descriptors" and
 * "bulk-bytes" what bulk transfer completed and moved, "interrupts" the messages
 * and the rises of the interrupt line, "accesses" all accesses to the BAR. With
 * the property "timing", "device-ns" counts the nanoseconds of the host that
 * accesses and bulk transfer spent in the device.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/log.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "hw/pci/msi.h"
#include "hw/pci/pci_device.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "qom/object.h"

/* QEMU 10.0 moved the header. */
#if QEMU_VERSION_MAJOR >= 10
#include "system/runstate.h"
#else
#include "sysemu/runstate.h"
#endif

#define TYPE_MY_RNG "my_rng"
OBJECT_DECLARE_SIMPLE_TYPE(MyRngState, MY_RNG)

#define MY_RNG_DEVICE_ID    0xcafe
#define MY_RNG_REVISION     0x10
#define MY_RNG_BAR_SIZE     4096

#define MY_RNG_REG_RNG      0x0
#define MY_RNG_REG_SEED     0x4
#define MY_RNG_REG_RNG64    0x8
#define MY_RNG_REG_FEATURES 0x10
#define MY_RNG_REG_STATUS   0x14
#define MY_RNG_REG_ENABLE   0x18
#define MY_RNG_REG_CONTROL  0x1c
#define MY_RNG_REG_ADDRESS  0x20
#define MY_RNG_REG_SIZE     0x28
#define MY_RNG_REG_TAIL     0x2c
#define MY_RNG_REG_HEAD     0x30

#define FEATURE_RNG64       BIT(0)
#define FEATURE_BULK        BIT(1)
#define FEATURES_VERSION    (1 << 16)

#define IRQ_COMPLETION      BIT(0)
#define IRQ_RING_ERROR      BIT(1)
#define IRQ_ALL             (IRQ_COMPLETION | IRQ_RING_ERROR)

#define CONTROL_RUN         BIT(0)

#define RING_ALIGNMENT      16
#define RING_MAX_SIZE       256

#define BULK_MIN_LENGTH     4
#define BULK_MAX_LENGTH     MiB

#define BULK_DONE           1
#define BULK_BAD_LENGTH     2
#define BULK_BUS_ERROR      3

/*
 * What is done in one turn, so that the rest of QEMU is never kept waiting for
 * long: so many numbers, of which a descriptor costs some. Keyed numbers take
 * about a microsecond each.
 */
#define TURN_NUMBERS        65536
#define TURN_NUMBERS_KEYED  1024
#define DESCRIPTOR_COST     64
#define PIECE_NUMBERS       1024

#define MY_RNG_RESET_SEED   1
#define KEYED_RESET_SEED    0

#define KEY_MIN_DIGITS      16
#define KEY_MAX_DIGITS      64

#define LIBC_WORDS          31
#define LIBC_DISTANCE       3
#define LIBC_DISCARDED      310

/**
 * MyRngGenerator: what a generator remembers between two numbers
 * @words: the last numbers of the recurrence, a ring
 * @oldest: index of the oldest of @words
 */
typedef struct MyRngGenerator {
    uint32_t words[LIBC_WORDS];
    uint32_t oldest;
} MyRngGenerator;

/**
 * libc_next: the next number of glibc's rand()
 *
 * An additive feedback generator: x[n] = x[n - 31] + x[n - 3] modulo 2^32, of
 * which the lowest bit is dropped.
 */
static uint32_t libc_next(MyRngGenerator *g)
{
    uint32_t recent = (g->oldest + LIBC_WORDS - LIBC_DISTANCE) % LIBC_WORDS;
    uint32_t number = g->words[g->oldest] + g->words[recent];

    g->words[g->oldest] = number;
    g->oldest = (g->oldest + 1) % LIBC_WORDS;
    return number >> 1;
}

/**
 * libc_seed: what glibc's srand() does
 *
 * The words start as powers of 16807 times the seed modulo 2^31 - 1, the seed
 * taken as a signed number; seed 0 means 1. The first three words count as the
 * newest ones. The first 310 numbers are dropped.
 */
static void libc_seed(MyRngGenerator *g, uint32_t seed)
{
    const int64_t modulus = INT32_MAX;
    int64_t word = (int32_t)(seed ? seed : 1);

    g->words[0] = word;
    for (int i = 1; i < LIBC_WORDS; i++) {
        word = word * 16807 % modulus;
        if (word < 0) {
            word += modulus;
        }
        g->words[i] = word;
    }

    g->oldest = LIBC_DISTANCE;
    for (int i = 0; i < LIBC_DISCARDED; i++) {
        libc_next(g);
    }
}

/**
 * MyRngAlgorithm: a value of the property "algorithm"
 * @name: the value
 * @seed: start the sequence that belongs to a seed
 * @next: give the next number of the sequence
 */
typedef struct MyRngAlgorithm {
    const char *name;
    void (*seed)(MyRngGenerator *g, uint32_t seed);
    uint32_t (*next)(MyRngGenerator *g);
} MyRngAlgorithm;

/* The first one is the default. */
static const MyRngAlgorithm my_rng_algorithms[] = {
    { .name = "libc", .seed = libc_seed, .next = libc_next },
};

/**
 * KeyedGenerator: the generator that a key selects
 * @key: NULL without a key
 * @key_size: bytes of @key
 * @seed: the last seed
 * @position: how many numbers were given since
 */
typedef struct KeyedGenerator {
    uint8_t *key;
    uint32_t key_size;
    uint32_t seed;
    uint64_t position;
} KeyedGenerator;

static uint32_t keyed_next(KeyedGenerator *g)
{
    uint8_t message[12];
    uint8_t digest[32];
    gsize size = sizeof(digest);
    GHmac *hmac = g_hmac_new(G_CHECKSUM_SHA256, g->key, g->key_size);

    stl_le_p(message, g->seed);
    stq_le_p(message + 4, g->position++);
    g_hmac_update(hmac, message, sizeof(message));
    g_hmac_get_digest(hmac, digest, &size);
    g_hmac_unref(hmac);
    return ldl_le_p(digest);
}

/**
 * MyRngDescriptor: an order for numbers, as it lies in memory, little-endian
 * @address: where the numbers go
 * @length: how many bytes of them
 * @status: how it ended; the driver makes it 0
 */
typedef struct MyRngDescriptor {
    uint64_t address;
    uint32_t length;
    uint32_t status;
} MyRngDescriptor;

QEMU_BUILD_BUG_ON(sizeof(MyRngDescriptor) != 16);

/**
 * MyRngRing: bulk transfer
 * @address: bus address of the descriptors
 * @size: number of descriptors in the ring
 * @tail: how many were offered since the start
 * @head: how many are completed
 * @running: what CONTROL says
 * @taken: the descriptor @head is in progress: @buffer, @length, @done hold
 * @buffer: where its numbers go
 * @length: how many bytes
 * @done: how many bytes are there already
 * @bh: does the work
 * @vm_state: tells that the machine goes on
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
    QEMUBH *bh;
    VMChangeStateEntry *vm_state;
} MyRngRing;

struct MyRngState {
    PCIDevice parent_obj;

    MemoryRegion mmio;
    bool extended;
    bool msi;
    bool timing;
    const MyRngAlgorithm *algorithm;
    char *algorithm_name;
    MyRngGenerator generator;
    char *key_text;
    KeyedGenerator keyed;
    MyRngRing ring;
    uint32_t irq_status;
    uint32_t irq_enable;
    uint64_t reads;
    uint64_t seeds;
    uint64_t wide_reads;
    uint64_t bulk_bytes;
    uint64_t bulk_descriptors;
    uint64_t interrupts;
    uint64_t accesses;
    uint64_t device_ns;
};

static uint32_t my_rng_next(MyRngState *s)
{
    return s->keyed.key ? keyed_next(&s->keyed)
                        : s->algorithm->next(&s->generator);
}

static void my_rng_seed(MyRngState *s, uint32_t seed)
{
    s->keyed.seed = seed;
    s->keyed.position = 0;
    s->algorithm->seed(&s->generator, seed);
}

static void my_rng_restart(MyRngState *s)
{
    my_rng_seed(s, s->keyed.key ? KEYED_RESET_SEED : MY_RNG_RESET_SEED);
}

/**
 * my_rng_set_irq: record events, and interrupt for those that are enabled
 *
 * INTx is asserted while an enabled event is pending. A message is sent when an
 * enabled event becomes pending, be it new or newly enabled.
 */
static void my_rng_set_irq(MyRngState *s, uint32_t status, uint32_t enable)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    uint32_t before = s->irq_status & s->irq_enable;
    uint32_t now = status & enable;

    s->irq_status = status;
    s->irq_enable = enable;
    if (msi_enabled(pdev)) {
        if (now & ~before) {
            s->interrupts++;
            msi_notify(pdev, 0);
        }
        return;
    }
    if (now && !before) {
        s->interrupts++;
    }
    pci_set_irq(pdev, now != 0);
}

static void my_rng_raise(MyRngState *s, uint32_t event)
{
    my_rng_set_irq(s, s->irq_status | event, s->irq_enable);
}

static void ring_stop(MyRngRing *r)
{
    r->running = false;
    r->taken = false;
}

static void ring_fail(MyRngState *s, const char *why)
{
    qemu_log_mask(LOG_GUEST_ERROR, "my_rng: the ring is stopped: %s\n", why);
    ring_stop(&s->ring);
    my_rng_raise(s, IRQ_RING_ERROR);
}

static bool ring_has_place(const MyRngRing *r)
{
    return r->address % RING_ALIGNMENT == 0 && is_power_of_2(r->size) &&
           r->size <= RING_MAX_SIZE &&
           r->address <= UINT64_MAX - r->size * sizeof(MyRngDescriptor);
}

static bool ring_has_work(const MyRngRing *r)
{
    return r->running && r->head != r->tail;
}

/* While the machine is stopped its memory must not change. */
static void ring_kick(MyRngRing *r)
{
    if (ring_has_work(r) && runstate_is_running()) {
        qemu_bh_schedule(r->bh);
    }
}

static void ring_vm_state_changed(void *opaque, bool running, RunState state)
{
    MyRngState *s = opaque;

    ring_kick(&s->ring);
}

static void ring_control(MyRngState *s, bool run)
{
    MyRngRing *r = &s->ring;

    if (!run) {
        ring_stop(r);
    } else if (!r->running) {
        r->head = 0;
        r->tail = 0;
        r->running = ring_has_place(r);
        if (!r->running) {
            ring_fail(s, "bad address or size");
        }
    }
}

static void ring_doorbell(MyRngState *s, uint32_t tail)
{
    MyRngRing *r = &s->ring;

    if (tail - r->head > r->size) {
        ring_fail(s, "more descriptors offered than it has");
        return;
    }
    r->tail = tail;
    ring_kick(r);
}

static dma_addr_t ring_slot(const MyRngRing *r)
{
    return r->address + r->head % r->size * sizeof(MyRngDescriptor);
}

/**
 * ring_complete: tell the driver how the descriptor in progress ended
 *
 * Its status in memory comes first, then HEAD, then the event.
 */
static void ring_complete(MyRngState *s, uint32_t status)
{
    MyRngRing *r = &s->ring;
    uint32_t stored = cpu_to_le32(status);
    dma_addr_t at = ring_slot(r) + offsetof(MyRngDescriptor, status);
    MemTxResult result = pci_dma_write(PCI_DEVICE(s), at, &stored,
                                       sizeof(stored));

    if (!r->running) {
        return;
    }
    if (result != MEMTX_OK) {
        ring_fail(s, "a descriptor cannot be written");
        return;
    }
    r->taken = false;
    r->head++;
    s->bulk_descriptors++;
    my_rng_raise(s, IRQ_COMPLETION);
}

static bool bulk_length_is_valid(uint32_t length)
{
    return length >= BULK_MIN_LENGTH && length <= BULK_MAX_LENGTH &&
           length % sizeof(uint32_t) == 0;
}

/* The descriptor is read once: the driver may change it at any time. */
static void ring_take(MyRngState *s)
{
    MyRngRing *r = &s->ring;
    MyRngDescriptor d;
    MemTxResult result = pci_dma_read(PCI_DEVICE(s), ring_slot(r), &d,
                                      sizeof(d));

    if (!r->running) {
        return;
    }
    if (result != MEMTX_OK) {
        ring_fail(s, "a descriptor cannot be read");
        return;
    }
    r->buffer = le64_to_cpu(d.address);
    r->length = le32_to_cpu(d.length);
    r->done = 0;
    r->taken = true;
    if (!bulk_length_is_valid(r->length)) {
        ring_complete(s, BULK_BAD_LENGTH);
    } else if (r->buffer > UINT64_MAX - r->length) {
        ring_complete(s, BULK_BUS_ERROR);
    }
}

/**
 * ring_fill: put the next numbers into the buffer of the descriptor in progress
 *
 * Returns how many.
 */
static uint32_t ring_fill(MyRngState *s)
{
    MyRngRing *r = &s->ring;
    uint32_t numbers[PIECE_NUMBERS];
    uint32_t bytes = MIN(r->length - r->done, sizeof(numbers));
    MemTxResult result;

    for (uint32_t i = 0; i < bytes / sizeof(uint32_t); i++) {
        numbers[i] = cpu_to_le32(my_rng_next(s));
    }
    result = pci_dma_write(PCI_DEVICE(s), r->buffer + r->done, numbers, bytes);
    if (!r->running) {
        return 0;
    }
    if (result != MEMTX_OK) {
        ring_complete(s, BULK_BUS_ERROR);
        return 0;
    }
    s->bulk_bytes += bytes;
    r->done += bytes;
    if (r->done == r->length) {
        ring_complete(s, BULK_DONE);
    }
    return bytes / sizeof(uint32_t);
}

/* 0 when the time that devices take is not asked for: the clock costs some. */
static int64_t my_rng_clock(MyRngState *s)
{
    return s->timing ? get_clock() : 0;
}

static void my_rng_unref(void *opaque)
{
    object_unref(OBJECT(opaque));
}

/*
 * Every access to memory may end in another device, which may reset or unplug
 * this one: the ring is then stopped when the access returns.
 */
static void ring_turn(void *opaque)
{
    MyRngState *s = opaque;
    int64_t start = my_rng_clock(s);
    int64_t left = s->keyed.key ? TURN_NUMBERS_KEYED : TURN_NUMBERS;

    if (!runstate_is_running()) {
        return;
    }
    object_ref(OBJECT(s));
    while (ring_has_work(&s->ring) && left > 0) {
        if (s->ring.taken) {
            left -= ring_fill(s);
        } else {
            left -= DESCRIPTOR_COST;
            ring_take(s);
        }
    }
    ring_kick(&s->ring);
    s->device_ns += my_rng_clock(s) - start;
    if (DEVICE(s)->realized) {
        object_unref(OBJECT(s));
        return;
    }
    /* Unplugged: the caller will still touch its reentrancy guard. */
    aio_bh_schedule_oneshot(qemu_get_aio_context(), my_rng_unref, s);
}

/* The size of the register of an extended device at an offset, or 0. */
static unsigned extended_size(hwaddr addr)
{
    switch (addr) {
    case MY_RNG_REG_RNG64:
    case MY_RNG_REG_ADDRESS:
        return 8;
    case MY_RNG_REG_FEATURES:
    case MY_RNG_REG_STATUS:
    case MY_RNG_REG_ENABLE:
    case MY_RNG_REG_CONTROL:
    case MY_RNG_REG_SIZE:
    case MY_RNG_REG_TAIL:
    case MY_RNG_REG_HEAD:
        return 4;
    default:
        return 0;
    }
}

static uint64_t extended_read(MyRngState *s, hwaddr addr)
{
    uint32_t low;

    switch (addr) {
    case MY_RNG_REG_RNG64:
        s->wide_reads++;
        low = my_rng_next(s);
        return (uint64_t)my_rng_next(s) << 32 | low;
    case MY_RNG_REG_FEATURES:
        return FEATURES_VERSION | FEATURE_BULK | FEATURE_RNG64;
    case MY_RNG_REG_STATUS:
        return s->irq_status;
    case MY_RNG_REG_ENABLE:
        return s->irq_enable;
    case MY_RNG_REG_CONTROL:
        return s->ring.running ? CONTROL_RUN : 0;
    case MY_RNG_REG_ADDRESS:
        return s->ring.address;
    case MY_RNG_REG_SIZE:
        return s->ring.size;
    case MY_RNG_REG_TAIL:
        return s->ring.tail;
    case MY_RNG_REG_HEAD:
        return s->ring.head;
    default:
        g_assert_not_reached();
    }
}

/* Returns false for what cannot be written, or not now. */
static bool extended_write(MyRngState *s, hwaddr addr, uint64_t value)
{
    switch (addr) {
    case MY_RNG_REG_STATUS:
        my_rng_set_irq(s, s->irq_status & ~value, s->irq_enable);
        return true;
    case MY_RNG_REG_ENABLE:
        my_rng_set_irq(s, s->irq_status, value & IRQ_ALL);
        return true;
    case MY_RNG_REG_CONTROL:
        ring_control(s, value & CONTROL_RUN);
        return true;
    case MY_RNG_REG_ADDRESS:
        if (s->ring.running) {
            return false;
        }
        s->ring.address = value;
        return true;
    case MY_RNG_REG_SIZE:
        if (s->ring.running) {
            return false;
        }
        s->ring.size = value;
        return true;
    case MY_RNG_REG_TAIL:
        if (!s->ring.running) {
            return false;
        }
        ring_doorbell(s, value);
        return true;
    default:
        return false;
    }
}

static uint64_t my_rng_read_register(MyRngState *s, hwaddr addr, unsigned size)
{
    if (addr == MY_RNG_REG_RNG && size == 4) {
        s->reads++;
        return my_rng_next(s);
    }
    if (s->extended && extended_size(addr) == size) {
        return extended_read(s, addr);
    }

    qemu_log_mask(LOG_GUEST_ERROR,
                  "my_rng: invalid read of %u bytes at offset 0x%" HWADDR_PRIx
                  "\n", size, addr);
    return 0;
}

static void my_rng_write_register(MyRngState *s, hwaddr addr, uint64_t value,
                                  unsigned size)
{
    if (addr == MY_RNG_REG_SEED && size == 4) {
        s->seeds++;
        my_rng_seed(s, value);
        return;
    }
    if (s->extended && extended_size(addr) == size &&
        extended_write(s, addr, value)) {
        return;
    }

    qemu_log_mask(LOG_GUEST_ERROR,
                  "my_rng: invalid write of %u bytes at offset 0x%" HWADDR_PRIx
                  "\n", size, addr);
}

static uint64_t my_rng_read(void *opaque, hwaddr addr, unsigned size)
{
    MyRngState *s = opaque;
    int64_t start = my_rng_clock(s);
    uint64_t value = my_rng_read_register(s, addr, size);

    s->accesses++;
    s->device_ns += my_rng_clock(s) - start;
    return value;
}

static void my_rng_write(void *opaque, hwaddr addr, uint64_t value,
                         unsigned size)
{
    MyRngState *s = opaque;
    int64_t start = my_rng_clock(s);

    my_rng_write_register(s, addr, value, size);
    s->accesses++;
    s->device_ns += my_rng_clock(s) - start;
}

/*
 * Every size and alignment is let through unchanged, so that the functions
 * above see what the guest did. Were only 4 bytes declared valid, an access of
 * 8 bytes would be refused under TCG but cut in two halves under KVM and qtest.
 */
static const MemoryRegionOps my_rng_ops = {
    .read = my_rng_read,
    .write = my_rng_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = {
        .min_access_size = 1,
        .max_access_size = 8,
        .unaligned = true,
    },
    .impl = {
        .min_access_size = 1,
        .max_access_size = 8,
        .unaligned = true,
    },
};

static const MyRngAlgorithm *my_rng_find_algorithm(const char *name,
                                                   Error **errp)
{
    g_autoptr(GString) known = g_string_new(NULL);

    for (size_t i = 0; i < ARRAY_SIZE(my_rng_algorithms); i++) {
        if (!strcmp(my_rng_algorithms[i].name, name)) {
            return &my_rng_algorithms[i];
        }
        g_string_append_printf(known, "%s%s", i ? ", " : "",
                               my_rng_algorithms[i].name);
    }

    error_setg(errp, "my_rng: unknown algorithm '%s' (known: %s)", name,
               known->str);
    return NULL;
}

/**
 * my_rng_parse_key: take the key out of its hexadecimal text
 *
 * Returns false and sets @errp for a text that is no key.
 */
static bool my_rng_parse_key(const char *text, KeyedGenerator *g, Error **errp)
{
    size_t digits = strlen(text);

    if (digits < KEY_MIN_DIGITS || digits > KEY_MAX_DIGITS || digits % 2 ||
        strspn(text, "0123456789abcdefABCDEF") != digits) {
        error_setg(errp, "my_rng: the key must be an even number of "
                   "hexadecimal digits, %d to %d", KEY_MIN_DIGITS,
                   KEY_MAX_DIGITS);
        return false;
    }

    g_free(g->key);
    g->key_size = digits / 2;
    g->key = g_malloc(g->key_size);
    for (size_t i = 0; i < g->key_size; i++) {
        g->key[i] = g_ascii_xdigit_value(text[2 * i]) << 4 |
                    g_ascii_xdigit_value(text[2 * i + 1]);
    }
    return true;
}

/**
 * my_rng_realize_extended: add what a basic device does not have
 *
 * Returns false and sets @errp when the machine has no MSI.
 */
static bool my_rng_realize_extended(MyRngState *s, Error **errp)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    DeviceState *dev = DEVICE(s);
    MyRngRing *r = &s->ring;

    pci_config_set_interrupt_pin(pdev->config, 1);
    if (s->msi && msi_init(pdev, 0, 1, true, false, errp)) {
        return false;
    }
    r->bh = qemu_bh_new_guarded(ring_turn, s, &dev->mem_reentrancy_guard);
    r->vm_state = qdev_add_vm_change_state_handler(dev, ring_vm_state_changed,
                                                   s);
    return true;
}

static void my_rng_realize(PCIDevice *pdev, Error **errp)
{
    MyRngState *s = MY_RNG(pdev);

    s->algorithm = my_rng_find_algorithm(s->algorithm_name, errp);
    if (!s->algorithm) {
        return;
    }
    if (s->key_text && !my_rng_parse_key(s->key_text, &s->keyed, errp)) {
        return;
    }
    if (s->extended && !my_rng_realize_extended(s, errp)) {
        return;
    }
    my_rng_restart(s);

    memory_region_init_io(&s->mmio, OBJECT(s), &my_rng_ops, s, TYPE_MY_RNG,
                          MY_RNG_BAR_SIZE);
    pci_register_bar(pdev, 0, PCI_BASE_ADDRESS_SPACE_MEMORY, &s->mmio);
}

static void my_rng_exit(PCIDevice *pdev)
{
    MyRngState *s = MY_RNG(pdev);

    if (!s->extended) {
        return;
    }
    ring_stop(&s->ring);
    qemu_del_vm_change_state_handler(s->ring.vm_state);
    qemu_bh_delete(s->ring.bh);
    msi_uninit(pdev);
}

/* What a driver sees of a pending event changes with the way it is told. */
static void my_rng_write_config(PCIDevice *pdev, uint32_t address,
                                uint32_t value, int size)
{
    MyRngState *s = MY_RNG(pdev);

    pci_default_write_config(pdev, address, value, size);
    if (s->extended && !msi_enabled(pdev)) {
        pci_set_irq(pdev, (s->irq_status & s->irq_enable) != 0);
    }
}

/* The bus lowers the interrupt line. */
static void my_rng_reset_enter(Object *obj, ResetType type)
{
    MyRngState *s = MY_RNG(obj);

    my_rng_restart(s);
    ring_stop(&s->ring);
    s->ring.address = 0;
    s->ring.size = 0;
    s->ring.tail = 0;
    s->ring.head = 0;
    s->irq_status = 0;
    s->irq_enable = 0;
}

/* The stream is not trusted: @oldest indexes an array. */
static int my_rng_post_load(void *opaque, int version_id)
{
    MyRngState *s = opaque;

    return s->generator.oldest < LIBC_WORDS ? 0 : -EINVAL;
}

static bool my_rng_is_keyed(void *opaque)
{
    MyRngState *s = opaque;

    return s->keyed.key;
}

static const VMStateDescription vmstate_my_rng_keyed = {
    .name = TYPE_MY_RNG "/keyed",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = my_rng_is_keyed,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(keyed.seed, MyRngState),
        VMSTATE_UINT64(keyed.position, MyRngState),
        VMSTATE_END_OF_LIST()
    }
};

static bool my_rng_is_extended(void *opaque)
{
    MyRngState *s = opaque;

    return s->extended;
}

/* The stream is not trusted: what the registers refuse is refused here too. */
static int my_rng_post_load_extended(void *opaque, int version_id)
{
    MyRngState *s = opaque;
    MyRngRing *r = &s->ring;

    if ((s->irq_status | s->irq_enable) & ~IRQ_ALL) {
        return -EINVAL;
    }
    if (r->running && (!ring_has_place(r) || r->tail - r->head > r->size)) {
        return -EINVAL;
    }
    if (r->taken && (!ring_has_work(r) || !bulk_length_is_valid(r->length) ||
                     r->buffer > UINT64_MAX - r->length ||
                     r->done >= r->length || r->done % sizeof(uint32_t))) {
        return -EINVAL;
    }
    return 0;
}

static const VMStateDescription vmstate_my_rng_extended = {
    .name = TYPE_MY_RNG "/extended",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = my_rng_is_extended,
    .post_load = my_rng_post_load_extended,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(irq_status, MyRngState),
        VMSTATE_UINT32(irq_enable, MyRngState),
        VMSTATE_UINT64(ring.address, MyRngState),
        VMSTATE_UINT32(ring.size, MyRngState),
        VMSTATE_UINT32(ring.tail, MyRngState),
        VMSTATE_UINT32(ring.head, MyRngState),
        VMSTATE_BOOL(ring.running, MyRngState),
        VMSTATE_BOOL(ring.taken, MyRngState),
        VMSTATE_UINT64(ring.buffer, MyRngState),
        VMSTATE_UINT32(ring.length, MyRngState),
        VMSTATE_UINT32(ring.done, MyRngState),
        VMSTATE_END_OF_LIST()
    }
};

static const VMStateDescription vmstate_my_rng = {
    .name = TYPE_MY_RNG,
    .version_id = 1,
    .minimum_version_id = 1,
    .post_load = my_rng_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, MyRngState),
        VMSTATE_UINT32_ARRAY(generator.words, MyRngState, LIBC_WORDS),
        VMSTATE_UINT32(generator.oldest, MyRngState),
        VMSTATE_END_OF_LIST()
    },
    .subsections = (const VMStateDescription * []) {
        &vmstate_my_rng_keyed,
        &vmstate_my_rng_extended,
        NULL
    }
};

static char *my_rng_get_algorithm(Object *obj, Error **errp)
{
    return g_strdup(MY_RNG(obj)->algorithm_name);
}

static void my_rng_set_algorithm(Object *obj, const char *value, Error **errp)
{
    MyRngState *s = MY_RNG(obj);

    if (DEVICE(obj)->realized) {
        error_setg(errp, "my_rng: the algorithm of a running device is fixed");
        return;
    }
    g_free(s->algorithm_name);
    s->algorithm_name = g_strdup(value);
}

static void my_rng_set_key(Object *obj, const char *value, Error **errp)
{
    MyRngState *s = MY_RNG(obj);

    if (DEVICE(obj)->realized) {
        error_setg(errp, "my_rng: the key of a running device is fixed");
        return;
    }
    g_free(s->key_text);
    s->key_text = g_strdup(value);
}

static Property my_rng_properties[] = {
    DEFINE_PROP_BOOL("extended", MyRngState, extended, false),
    DEFINE_PROP_BOOL("msi", MyRngState, msi, true),
    DEFINE_PROP_BOOL("timing", MyRngState, timing, false),
};

static void my_rng_add_counter(Object *obj, const char *name, uint64_t *counter)
{
    object_property_add_uint64_ptr(obj, name, counter, OBJ_PROP_FLAG_READ);
}

static void my_rng_init(Object *obj)
{
    MyRngState *s = MY_RNG(obj);

    s->algorithm_name = g_strdup(my_rng_algorithms[0].name);
    my_rng_add_counter(obj, "reads", &s->reads);
    my_rng_add_counter(obj, "seeds", &s->seeds);
    my_rng_add_counter(obj, "wide-reads", &s->wide_reads);
    my_rng_add_counter(obj, "bulk-bytes", &s->bulk_bytes);
    my_rng_add_counter(obj, "bulk-descriptors", &s->bulk_descriptors);
    my_rng_add_counter(obj, "interrupts", &s->interrupts);
    my_rng_add_counter(obj, "accesses", &s->accesses);
    my_rng_add_counter(obj, "device-ns", &s->device_ns);

    /*
     * Added to the instance: lists of a class end in one way up to QEMU 9 and
     * in another since.
     */
    for (size_t i = 0; i < ARRAY_SIZE(my_rng_properties); i++) {
        qdev_property_add_static(DEVICE(obj), &my_rng_properties[i]);
    }
}

static void my_rng_finalize(Object *obj)
{
    MyRngState *s = MY_RNG(obj);

    g_free(s->algorithm_name);
    g_free(s->key_text);
    g_free(s->keyed.key);
}

/* QEMU 10.1 made the class data read-only. */
#if QEMU_VERSION_MAJOR > 10 || \
    (QEMU_VERSION_MAJOR == 10 && QEMU_VERSION_MINOR >= 1)
typedef const void MyRngClassData;
#else
typedef void MyRngClassData;
#endif

static void my_rng_class_init(ObjectClass *klass, MyRngClassData *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(klass);

    k->realize = my_rng_realize;
    k->exit = my_rng_exit;
    k->config_write = my_rng_write_config;
    k->vendor_id = PCI_VENDOR_ID_QEMU;
    k->device_id = MY_RNG_DEVICE_ID;
    k->revision = MY_RNG_REVISION;
    k->class_id = PCI_CLASS_OTHERS;

    /* The phase "hold" would do as well, but its type changed in QEMU 9.1. */
    RESETTABLE_CLASS(klass)->phases.enter = my_rng_reset_enter;
    dc->vmsd = &vmstate_my_rng;
    dc->desc = "Random number generator for teaching";
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);

    object_class_property_add_str(klass, "algorithm", my_rng_get_algorithm,
                                  my_rng_set_algorithm);
    object_class_property_set_description(klass, "algorithm",
                                          "Generator of the numbers: libc");
    object_class_property_add_str(klass, "key", NULL, my_rng_set_key);
    object_class_property_set_description(klass, "key",
                                          "Secret of unguessable numbers, "
                                          "16 to 64 hexadecimal digits");
}

static void my_rng_register_types(void)
{
    static InterfaceInfo interfaces[] = {
        { INTERFACE_CONVENTIONAL_PCI_DEVICE },
        { },
    };
    static const TypeInfo my_rng_info = {
        .name = TYPE_MY_RNG,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(MyRngState),
        .instance_init = my_rng_init,
        .instance_finalize = my_rng_finalize,
        .class_init = my_rng_class_init,
        .interfaces = interfaces,
    };

    type_register_static(&my_rng_info);
}

type_init(my_rng_register_types)
