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
 * The read-only properties "reads" and "seeds" count the valid reads of RNG and
 * writes of SEED since power-on, so that the host can tell whether the guest
 * really asked the device.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/log.h"
#include "qemu/module.h"
#include "qapi/error.h"
#include "hw/pci/pci_device.h"
#include "migration/vmstate.h"
#include "qom/object.h"

#define TYPE_MY_RNG "my_rng"
OBJECT_DECLARE_SIMPLE_TYPE(MyRngState, MY_RNG)

#define MY_RNG_DEVICE_ID    0xcafe
#define MY_RNG_REVISION     0x10
#define MY_RNG_BAR_SIZE     4096

#define MY_RNG_REG_RNG      0x0
#define MY_RNG_REG_SEED     0x4

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

struct MyRngState {
    PCIDevice parent_obj;

    MemoryRegion mmio;
    const MyRngAlgorithm *algorithm;
    char *algorithm_name;
    MyRngGenerator generator;
    char *key_text;
    KeyedGenerator keyed;
    uint64_t reads;
    uint64_t seeds;
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

static uint64_t my_rng_read(void *opaque, hwaddr addr, unsigned size)
{
    MyRngState *s = opaque;

    if (addr == MY_RNG_REG_RNG && size == 4) {
        s->reads++;
        return my_rng_next(s);
    }

    qemu_log_mask(LOG_GUEST_ERROR,
                  "my_rng: invalid read of %u bytes at offset 0x%" HWADDR_PRIx
                  "\n", size, addr);
    return 0;
}

static void my_rng_write(void *opaque, hwaddr addr, uint64_t value,
                         unsigned size)
{
    MyRngState *s = opaque;

    if (addr == MY_RNG_REG_SEED && size == 4) {
        s->seeds++;
        my_rng_seed(s, value);
        return;
    }

    qemu_log_mask(LOG_GUEST_ERROR,
                  "my_rng: invalid write of %u bytes at offset 0x%" HWADDR_PRIx
                  "\n", size, addr);
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
    my_rng_restart(s);

    memory_region_init_io(&s->mmio, OBJECT(s), &my_rng_ops, s, TYPE_MY_RNG,
                          MY_RNG_BAR_SIZE);
    pci_register_bar(pdev, 0, PCI_BASE_ADDRESS_SPACE_MEMORY, &s->mmio);
}

static void my_rng_reset_enter(Object *obj, ResetType type)
{
    my_rng_restart(MY_RNG(obj));
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

static void my_rng_init(Object *obj)
{
    MyRngState *s = MY_RNG(obj);

    s->algorithm_name = g_strdup(my_rng_algorithms[0].name);
    object_property_add_uint64_ptr(obj, "reads", &s->reads, OBJ_PROP_FLAG_READ);
    object_property_add_uint64_ptr(obj, "seeds", &s->seeds, OBJ_PROP_FLAG_READ);
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
