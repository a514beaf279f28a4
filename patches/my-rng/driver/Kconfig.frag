
config MY_RNG
	tristate "my_rng: QEMU's PCI random number generator for teaching"
	depends on PCI
	help
	  The character device my_rng_driver, major 250: random numbers from the
	  PCI device 1234:cafe (QEMU's -device my_rng), and a way to seed it.

	  To compile this driver as a module, choose M here: the module will be
	  called my_rng.
