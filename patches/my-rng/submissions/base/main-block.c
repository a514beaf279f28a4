
	{
		void __iomem *devmem;
		int round, i;

		devmem = ioremap(0xfebf1000, 4096);
		if (devmem) {
			pr_info("BEGIN MY-RNG TEST\n");
			for (round = 1; round <= 2; round++) {
				iowrite32(0x42, devmem + 0x4);
				for (i = 1; i <= 5; i++)
					pr_info("Round %d number %d: %u\n",
						round, i, ioread32(devmem));
			}
			pr_info("END MY-RNG TEST\n");
			iounmap(devmem);
		}
	}
