/*
 * my_rng: the generators that the device can give its numbers from
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each starts from a seed of 32 bits as its authors do it, where they say how.
 * Indices wrap by comparison: divisions would take most of the time.
 */

#include "qemu/osdep.h"
#include "my-rng-generators.h"

#define LIBC_DISTANCE       3
#define LIBC_DISCARDED      310

/**
 * libc_next: the next number of glibc's rand()
 *
 * An additive feedback generator: x[n] = x[n - 31] + x[n - 3] modulo 2^32, of
 * which the lowest bit is dropped.
 */
static uint32_t libc_next(MyRngGenerator *g)
{
    uint32_t oldest = g->libc_oldest;
    uint32_t recent = oldest < LIBC_DISTANCE
                      ? oldest + LIBC_WORDS - LIBC_DISTANCE
                      : oldest - LIBC_DISTANCE;
    uint32_t number = g->libc_words[oldest] + g->libc_words[recent];

    g->libc_words[oldest] = number;
    g->libc_oldest = oldest < LIBC_WORDS - 1 ? oldest + 1 : 0;
    return number >> 1;
}

/**
 * libc_seed: what glibc's srand() does
 *
 * The words start as powers of 16807 times the seed modulo 2^31 - 1, the seed
 * taken as a signed number; seed 0 means 1. The first three words count as the
 * newest ones. The first 310 numbers are dropped.
 */
static void libc_seed(MyRngGenerator *g, uint32_t seed)
{
    const int64_t modulus = INT32_MAX;
    int64_t word = (int32_t)(seed ? seed : 1);

    g->libc_words[0] = word;
    for (int i = 1; i < LIBC_WORDS; i++) {
        word = word * 16807 % modulus;
        if (word < 0) {
            word += modulus;
        }
        g->libc_words[i] = word;
    }

    g->libc_oldest = LIBC_DISTANCE;
    for (int i = 0; i < LIBC_DISCARDED; i++) {
        libc_next(g);
    }
}

static bool libc_is_sound(const MyRngGenerator *g)
{
    return g->libc_oldest < LIBC_WORDS;
}

/* The state that seed 0 stands for, as the state must not be 0. */
#define XORSHIFT64STAR_ZERO UINT64_C(0x9e3779b97f4a7c15)

/**
 * xorshift64star_next: the next number of xorshift64*, shifts 12, 25, 27
 *
 * S. Vigna, "An experimental exploration of Marsaglia's xorshift generators,
 * scrambled", ACM TOMS 42(4), 2016. Of the 64 bits the upper half is given.
 */
static uint32_t xorshift64star_next(MyRngGenerator *g)
{
    uint64_t x = g->xorshift64star;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    g->xorshift64star = x;
    return (x * UINT64_C(0x2545f4914f6cdd1d)) >> 32;
}

static void xorshift64star_seed(MyRngGenerator *g, uint32_t seed)
{
    g->xorshift64star = seed ? seed : XORSHIFT64STAR_ZERO;
}

static bool xorshift64star_is_sound(const MyRngGenerator *g)
{
    return g->xorshift64star != 0;
}

/* The stream of the authors' demonstration, where the seed is 42. */
#define PCG32_STREAM        54
#define PCG32_INCREMENT     (2 * PCG32_STREAM + 1)

/**
 * pcg32_next: the next number of PCG-XSH-RR 64/32
 *
 * M. E. O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically
 * Good Algorithms for Random Number Generation", HMC-CS-2014-0905.
 */
static uint32_t pcg32_next(MyRngGenerator *g)
{
    uint64_t old = g->pcg32;
    uint32_t word = ((old >> 18) ^ old) >> 27;
    unsigned turn = old >> 59;

    g->pcg32 = old * UINT64_C(6364136223846793005) + PCG32_INCREMENT;
    return word >> turn | word << (-turn & 31);
}

/* What the authors' pcg32_srandom_r() does. */
static void pcg32_seed(MyRngGenerator *g, uint32_t seed)
{
    g->pcg32 = 0;
    pcg32_next(g);
    g->pcg32 += seed;
    pcg32_next(g);
}

static bool pcg32_is_sound(const MyRngGenerator *g)
{
    return true;
}

#define MT19937_DISTANCE    397
#define MT19937_UPPER       UINT32_C(0x80000000)
#define MT19937_MATRIX      UINT32_C(0x9908b0df)

/**
 * mt19937_next: the next number of the Mersenne Twister
 *
 * M. Matsumoto and T. Nishimura, "Mersenne Twister: a 623-dimensionally
 * equidistributed uniform pseudorandom number generator", ACM TOMACS 8(1),
 * 1998. The authors renew all words at once; one at a time comes to the same.
 */
static uint32_t mt19937_next(MyRngGenerator *g)
{
    uint32_t *words = g->mt19937_words;
    uint32_t oldest = g->mt19937_oldest;
    uint32_t second = oldest < MT19937_WORDS - 1 ? oldest + 1 : 0;
    uint32_t middle = oldest < MT19937_WORDS - MT19937_DISTANCE
                      ? oldest + MT19937_DISTANCE
                      : oldest + MT19937_DISTANCE - MT19937_WORDS;
    uint32_t x = (words[oldest] & MT19937_UPPER) |
                 (words[second] & ~MT19937_UPPER);
    uint32_t y = words[middle] ^ x >> 1 ^ (x & 1 ? MT19937_MATRIX : 0);

    words[oldest] = y;
    g->mt19937_oldest = second;

    y ^= y >> 11;
    y ^= (y << 7) & UINT32_C(0x9d2c5680);
    y ^= (y << 15) & UINT32_C(0xefc60000);
    return y ^ y >> 18;
}

/* What the authors' init_genrand() of 2002 does. */
static void mt19937_seed(MyRngGenerator *g, uint32_t seed)
{
    uint32_t *words = g->mt19937_words;

    words[0] = seed;
    for (uint32_t i = 1; i < MT19937_WORDS; i++) {
        words[i] = UINT32_C(1812433253) * (words[i - 1] ^ words[i - 1] >> 30) +
                   i;
    }
    g->mt19937_oldest = 0;
}

static bool mt19937_is_sound(const MyRngGenerator *g)
{
    return g->mt19937_oldest < MT19937_WORDS;
}

const MyRngAlgorithm my_rng_algorithms[] = {
    {
        .name = "libc",
        .seed = libc_seed,
        .next = libc_next,
        .is_sound = libc_is_sound,
    }, {
        .name = "xorshift64star",
        .seed = xorshift64star_seed,
        .next = xorshift64star_next,
        .is_sound = xorshift64star_is_sound,
    }, {
        .name = "pcg32",
        .seed = pcg32_seed,
        .next = pcg32_next,
        .is_sound = pcg32_is_sound,
    }, {
        .name = "mt19937",
        .seed = mt19937_seed,
        .next = mt19937_next,
        .is_sound = mt19937_is_sound,
    },
    { },
};
