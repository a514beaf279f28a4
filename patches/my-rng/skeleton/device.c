/*
 * my_rng: a PCI random number generator
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The device is PCI 1234:cafe, revision 0x10, class 0x00ff. Its only BAR,
 * BAR 0, is 4 KiB of 32-bit non-prefetchable memory with two registers:
 *
 *   0x0  RNG   4 bytes, read-only   each read gives the next random number
 *   0x4  SEED  4 bytes, write-only  a write seeds the generator
 *
 * Any other access reads as 0 or is ignored.
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "hw/pci/pci_device.h"
#include "qom/object.h"

#define TYPE_MY_RNG "my_rng"
OBJECT_DECLARE_SIMPLE_TYPE(MyRngState, MY_RNG)

#define MY_RNG_DEVICE_ID    0xcafe
#define MY_RNG_REVISION     0x10
#define MY_RNG_BAR_SIZE     4096

struct MyRngState {
    PCIDevice parent_obj;

    MemoryRegion mmio;
    /* TODO: what the device has to remember between two accesses */
};

/* The guest reads @size bytes at the offset @addr of BAR 0. */
static uint64_t my_rng_read(void *opaque, hwaddr addr, unsigned size)
{
    /* TODO: RNG gives the next number; @opaque is the MyRngState */
    return 0;
}

/* The guest writes the @size bytes of @value at the offset @addr of BAR 0. */
static void my_rng_write(void *opaque, hwaddr addr, uint64_t value,
                         unsigned size)
{
    /* TODO: SEED seeds the generator */
}

static const MemoryRegionOps my_rng_ops = {
    .read = my_rng_read,
    .write = my_rng_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    /* TODO: which sizes of access are valid? See include/exec/memory.h */
};

static void my_rng_realize(PCIDevice *pdev, Error **errp)
{
    MyRngState *s = MY_RNG(pdev);

    memory_region_init_io(&s->mmio, OBJECT(s), &my_rng_ops, s, TYPE_MY_RNG,
                          MY_RNG_BAR_SIZE);
    pci_register_bar(pdev, 0, PCI_BASE_ADDRESS_SPACE_MEMORY, &s->mmio);
    /* TODO: what a device does that has just been switched on */
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

    dc->desc = "Random number generator";
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
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
        .class_init = my_rng_class_init,
        .interfaces = interfaces,
    };

    type_register_static(&my_rng_info);
}

type_init(my_rng_register_types)
