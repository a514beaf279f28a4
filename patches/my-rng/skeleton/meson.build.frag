
# Random number generator
system_ss.add(when: 'CONFIG_MY_RNG', if_true: files('my-rng.c'))
