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
 * With the property "extended" the device also has a 64-bit register, bulk
 * transfer into memory, and interrupts, see docs/specs/my-rng.rst.
 *
 * Each device has a generator of its own: neither another my_rng nor the rest
 * of QEMU disturbs its sequence. After power-on and after every reset the
 * generator is as if seeded with 1, like that of a C program which never calls
 * srand(). The sequence survives migration and snapshots.
 *
 * The property "algorithm" chooses the generator:
 *
 *   libc            the sequence of rand() and srand() of the GNU C library
 *                   (default); numbers are below 2^31
 *   xorshift64star  the upper halves of xorshift64*
 *   pcg32           PCG-XSH-RR 64/32, stream 54
 *   mt19937         the Mersenne Twister
 *
 * With the property "key" (16 to 64 hexadecimal digits) the numbers cannot be
 * guessed by anybody who does not know it: number n, counted from 0, after
 * seed s is the first four bytes, little-endian, of HMAC-SHA256 with that key
 * over s (4 bytes, little-endian) and n (8 bytes, little-endian). The key takes
 * the place of the algorithm. After power-on and after every reset s is 0.
 *
 * Read-only properties count accesses since power-on, so that the host can tell
 * whether the guest really asked the device.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/log.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "hw/pci/msi.h"
#include "hw/pci/pci_device.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "qom/object.h"
#include "my-rng-generators.h"
#include "my-rng-ring.h"
#include "trace.h"

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

#define IRQ_ALL             (MY_RNG_COMPLETION | MY_RNG_RING_ERROR)

#define CONTROL_RUN         BIT(0)

/*
 * Numbers in one turn of bulk transfer, so that the rest of QEMU does not wait
 * for long. Keyed numbers take about a microsecond each.
 */
#define TURN                65536
#define TURN_KEYED          1024

#define MY_RNG_RESET_SEED   1
#define KEYED_RESET_SEED    0

#define KEY_MIN_DIGITS      16
#define KEY_MAX_DIGITS      64

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

struct MyRngState {
    PCIDevice parent_obj;

    MemoryRegion mmio;
    bool extended;
    bool msi;
    bool timing;
    const MyRngAlgorithm *algorithm;
    uint32_t algorithm_index;
    char *algorithm_name;
    MyRngGenerator generator;
    char *key_text;
    KeyedGenerator keyed;
    MyRngRing ring;
    VMChangeStateEntry *vm_state;
    uint32_t irq_status;
    uint32_t irq_enable;
    uint64_t reads;
    uint64_t seeds;
    uint64_t wide_reads;
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
            trace_my_rng_message(s, now);
            s->interrupts++;
            msi_notify(pdev, 0);
        }
        return;
    }
    if (!now != !before) {
        trace_my_rng_line(s, now);
        s->interrupts += now != 0;
    }
    pci_set_irq(pdev, now != 0);
}

static void my_rng_ring_event(PCIDevice *pdev, uint32_t event)
{
    MyRngState *s = MY_RNG(pdev);

    my_rng_set_irq(s, s->irq_status | event, s->irq_enable);
}

static void my_rng_ring_make(PCIDevice *pdev, uint32_t *numbers, size_t count)
{
    MyRngState *s = MY_RNG(pdev);

    for (size_t i = 0; i < count; i++) {
        numbers[i] = my_rng_next(s);
    }
}

static const MyRngRingOps my_rng_ring_ops = {
    .make = my_rng_ring_make,
    .event = my_rng_ring_event,
};

/* 0 when nobody asks for the time that devices take: the clock costs some. */
static int64_t my_rng_clock(MyRngState *s)
{
    return s->timing ? get_clock() : 0;
}

static void my_rng_turn(void *opaque)
{
    MyRngState *s = opaque;
    int64_t start = my_rng_clock(s);

    my_rng_ring_turn(&s->ring);
    s->device_ns += my_rng_clock(s) - start;
}

static void my_rng_vm_state_changed(void *opaque, bool running, RunState state)
{
    MyRngState *s = opaque;

    if (running) {
        my_rng_ring_kick(&s->ring);
    }
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
        my_rng_ring_control(&s->ring, value & CONTROL_RUN);
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
        return my_rng_ring_doorbell(&s->ring, value);
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

    trace_my_rng_read(s, addr, size, value);
    s->accesses++;
    s->device_ns += my_rng_clock(s) - start;
    return value;
}

static void my_rng_write(void *opaque, hwaddr addr, uint64_t value,
                         unsigned size)
{
    MyRngState *s = opaque;
    int64_t start = my_rng_clock(s);

    trace_my_rng_write(s, addr, size, value);
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

/**
 * my_rng_choose_algorithm: find the algorithm that the property names
 *
 * Returns false and sets @errp when there is none.
 */
static bool my_rng_choose_algorithm(MyRngState *s, Error **errp)
{
    g_autoptr(GString) known = g_string_new(NULL);

    for (uint32_t i = 0; my_rng_algorithms[i].name; i++) {
        const MyRngAlgorithm *algorithm = &my_rng_algorithms[i];

        if (!strcmp(algorithm->name, s->algorithm_name)) {
            s->algorithm = algorithm;
            s->algorithm_index = i;
            return true;
        }
        g_string_append_printf(known, "%s%s", i ? ", " : "", algorithm->name);
    }

    error_setg(errp, "my_rng: unknown algorithm '%s' (known: %s)",
               s->algorithm_name, known->str);
    return false;
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

    pci_config_set_interrupt_pin(pdev->config, 1);
    if (s->msi && msi_init(pdev, 0, 1, true, false, errp)) {
        return false;
    }
    s->ring.pdev = pdev;
    s->ring.ops = &my_rng_ring_ops;
    s->ring.turn = s->keyed.key ? TURN_KEYED : TURN;
    s->ring.bh = qemu_bh_new_guarded(my_rng_turn, s,
                                     &dev->mem_reentrancy_guard);
    s->vm_state = qdev_add_vm_change_state_handler(dev, my_rng_vm_state_changed,
                                                   s);
    return true;
}

static void my_rng_realize(PCIDevice *pdev, Error **errp)
{
    MyRngState *s = MY_RNG(pdev);

    if (!my_rng_choose_algorithm(s, errp)) {
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
    my_rng_ring_reset(&s->ring);
    qemu_del_vm_change_state_handler(s->vm_state);
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

static void my_rng_reset_registers(MyRngState *s)
{
    my_rng_ring_reset(&s->ring);
    s->irq_status = 0;
    s->irq_enable = 0;
}

/* The bus lowers the interrupt line. */
static void my_rng_reset_enter(Object *obj, ResetType type)
{
    MyRngState *s = MY_RNG(obj);

    my_rng_restart(s);
    my_rng_reset_registers(s);
}

static bool my_rng_is_not_libc(void *opaque)
{
    MyRngState *s = opaque;

    return s->algorithm_index != 0;
}

static const VMStateDescription vmstate_my_rng_generator = {
    .name = TYPE_MY_RNG "/generator",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = my_rng_is_not_libc,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(algorithm_index, MyRngState),
        VMSTATE_UINT64(generator.xorshift64star, MyRngState),
        VMSTATE_UINT64(generator.pcg32, MyRngState),
        VMSTATE_UINT32_ARRAY(generator.mt19937_words, MyRngState,
                             MT19937_WORDS),
        VMSTATE_UINT32(generator.mt19937_oldest, MyRngState),
        VMSTATE_END_OF_LIST()
    }
};

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

static int my_rng_post_load_extended(void *opaque, int version_id)
{
    MyRngState *s = opaque;

    if (!s->extended || (s->irq_status | s->irq_enable) & ~IRQ_ALL) {
        my_rng_reset_registers(s);
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
        VMSTATE_STRUCT(ring, MyRngState, 1, vmstate_my_rng_ring, MyRngRing),
        VMSTATE_END_OF_LIST()
    }
};

/* A stream without the part of another algorithm is that of libc. */
static int my_rng_pre_load(void *opaque)
{
    MyRngState *s = opaque;

    s->algorithm_index = 0;
    return 0;
}

/*
 * The stream is not trusted: it may be of another algorithm, and what it says
 * indexes arrays. The user may go on with a device that was not restored.
 */
static int my_rng_post_load(void *opaque, int version_id)
{
    MyRngState *s = opaque;
    uint32_t own = s->algorithm - my_rng_algorithms;
    bool same = s->algorithm_index == own;

    s->algorithm_index = own;
    if (same && s->algorithm->is_sound(&s->generator)) {
        return 0;
    }
    my_rng_restart(s);
    return -EINVAL;
}

static const VMStateDescription vmstate_my_rng = {
    .name = TYPE_MY_RNG,
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_load = my_rng_pre_load,
    .post_load = my_rng_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, MyRngState),
        VMSTATE_UINT32_ARRAY(generator.libc_words, MyRngState, LIBC_WORDS),
        VMSTATE_UINT32(generator.libc_oldest, MyRngState),
        VMSTATE_END_OF_LIST()
    },
    .subsections = (const VMStateDescription * []) {
        &vmstate_my_rng_generator,
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
};

static bool my_rng_get_timing(Object *obj, Error **errp)
{
    return MY_RNG(obj)->timing;
}

static void my_rng_set_timing(Object *obj, bool value, Error **errp)
{
    MY_RNG(obj)->timing = value;
}

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
    my_rng_add_counter(obj, "bulk-bytes", &s->ring.bytes);
    my_rng_add_counter(obj, "bulk-descriptors", &s->ring.descriptors);
    my_rng_add_counter(obj, "interrupts", &s->interrupts);
    my_rng_add_counter(obj, "accesses", &s->accesses);
    my_rng_add_counter(obj, "device-ns", &s->device_ns);
    object_property_add_bool(obj, "timing", my_rng_get_timing,
                             my_rng_set_timing);

    /*
     * Added to the instance: lists of a class end in one way up to QEMU 9 and
     * in another since.
     */
    for (size_t i = 0; i < ARRAY_SIZE(my_rng_properties); i++) {
        qdev_property_add_static(DEVICE(obj), &my_rng_properties[i]);
    }
    object_property_set_description(obj, "extended", "More registers, bulk "
                                    "transfer and interrupts");
    object_property_set_description(obj, "msi", "Interrupts by messages, if "
                                    "extended");
    object_property_set_description(obj, "timing", "Count the time spent in "
                                    "the device");
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
                                          "Generator of the numbers: libc, "
                                          "xorshift64star, pcg32, mt19937");
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
