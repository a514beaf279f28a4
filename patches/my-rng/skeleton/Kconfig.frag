
config MY_RNG
    bool
    default y if PCI_DEVICES
    depends on PCI
