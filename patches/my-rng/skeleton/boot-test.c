
	/*
	 * TODO: map BAR 0 of my_rng, seed it twice with 0x42, and print five
	 * numbers after each, between the lines BEGIN and END MY-RNG TEST
	 */
