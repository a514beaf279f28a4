/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What programs and the driver my_rng_pci agree on about /dev/my_rng0,
 * /dev/my_rng1 and so on, one node for each device
 *
 * read() gives the bytes of successive numbers, each a little-endian unsigned
 * 32-bit integer. What the device has given for an open file and the file could
 * not deliver - the rest of a number, or anything when the address was bad -
 * comes first when that file is asked again. A seed, by whomever, ends that.
 */

#ifndef MY_RNG_H
#define MY_RNG_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Get the next number; the rest of one that read() gave in part is skipped. */
#define MY_RNG_IOC_GET		_IOR('q', 1, unsigned int)

/* Start the sequence of a seed, for all who use the device. */
#define MY_RNG_IOC_SEED		_IOW('q', 1, unsigned int)

/*
 * Get two numbers at once from the 64-bit register, the first in the low half.
 * EOPNOTSUPP: the device has no such register.
 */
#define MY_RNG_IOC_GET64	_IOR('q', 2, __u64)

/*
 * Choose how read() of this open file gets its bytes. EINVAL: no such path;
 * EOPNOTSUPP: the device does not have it.
 */
#define MY_RNG_IOC_PATH		_IOW('q', 3, unsigned int)

#define MY_RNG_PATH_AUTO	0 /* whichever is quickest for the length */
#define MY_RNG_PATH_NARROW	1 /* the 32-bit register */
#define MY_RNG_PATH_WIDE	2 /* the 64-bit register */
#define MY_RNG_PATH_BULK	3 /* DMA, sleeping until the interrupt */

#endif /* MY_RNG_H */
