
# my-rng.c
my_rng_read(void *dev, uint64_t offset, unsigned size, uint64_t value) "dev %p offset 0x%"PRIx64" size %u value 0x%"PRIx64
my_rng_write(void *dev, uint64_t offset, unsigned size, uint64_t value) "dev %p offset 0x%"PRIx64" size %u value 0x%"PRIx64
my_rng_message(void *dev, uint32_t pending) "dev %p pending 0x%x"
my_rng_line(void *dev, uint32_t pending) "dev %p pending 0x%x"

# my-rng-ring.c
my_rng_ring_start(void *dev, uint64_t address, uint32_t size) "dev %p address 0x%"PRIx64" size %u"
my_rng_ring_stop(void *dev, uint32_t head, const char *why) "dev %p head %u: %s"
my_rng_ring_doorbell(void *dev, uint32_t head, uint32_t tail) "dev %p head %u tail %u"
my_rng_ring_take(void *dev, uint32_t head, uint64_t buffer, uint32_t length) "dev %p head %u buffer 0x%"PRIx64" length %u"
my_rng_ring_complete(void *dev, uint32_t head, uint32_t status) "dev %p head %u status %u"
