
# Random number generator for teaching
system_ss.add(when: 'CONFIG_MY_RNG', if_true: files(
  'my-rng.c',
  'my-rng-generators.c',
  'my-rng-ring.c',
))
