obj-$(CONFIG_MY_RNG)		+= my_rng.o
my_rng-y			:= my-rng.o
