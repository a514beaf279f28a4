/*
 * my_rng - simple PCI random number generator
 *
 * Lab 2, guided part. Uses rand()/srand() of the C library.
 */
#include "qemu/osdep.h"
#include "hw/pci/pci.h"
#include "hw/pci/pci_device.h"
#include "qemu/module.h"
#include "qom/object.h"

#define TYPE_MY_RNG_DEVICE "my_rng"
typedef struct MyRNGDevice MyRNGDevice;
DECLARE_INSTANCE_CHECKER(MyRNGDevice, MY_RNG_DEV, TYPE_MY_RNG_DEVICE)

#define REG_RNG  0x0
#define REG_SEED 0x4

struct MyRNGDevice {
    PCIDevice pdev;
    MemoryRegion mmio;
};

static uint64_t mmio_read(void *opaque, hwaddr addr, unsigned size)
{
    if (size != 4) {
        return 0;
    }
    switch (addr) {
    case REG_RNG:
        return (uint32_t)rand();
    default:
        return 0;
    }
}

static void mmio_write(void *opaque, hwaddr addr, uint64_t val, unsigned size)
{
    if (size != 4) {
        return;
    }
    switch (addr) {
    case REG_SEED:
        srand((uint32_t)val);
        break;
    default:
        break;
    }
}

static const MemoryRegionOps my_rng_ops = {
    .read = mmio_read,
    .write = mmio_write,
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

static void pci_my_rng_realize(PCIDevice *pdev, Error **errp)
{
    MyRNGDevice *dev = MY_RNG_DEV(pdev);

    memory_region_init_io(&dev->mmio, OBJECT(dev), &my_rng_ops, dev,
                          "my_rng-mmio", 4096);
    pci_register_bar(pdev, 0, PCI_BASE_ADDRESS_SPACE_MEMORY, &dev->mmio);
}

static void my_rng_class_init(ObjectClass *class, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(class);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(class);

    k->realize = pci_my_rng_realize;
    k->vendor_id = PCI_VENDOR_ID_QEMU;
    k->device_id = 0xcafe;
    k->revision = 0x10;
    k->class_id = PCI_CLASS_OTHERS;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static void pci_my_rng_register_types(void)
{
    static InterfaceInfo interfaces[] = {
        { INTERFACE_CONVENTIONAL_PCI_DEVICE },
        { },
    };
    static const TypeInfo my_rng_info = {
        .name = TYPE_MY_RNG_DEVICE,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(MyRNGDevice),
        .class_init = my_rng_class_init,
        .interfaces = interfaces,
    };

    type_register_static(&my_rng_info);
}
type_init(pci_my_rng_register_types)
