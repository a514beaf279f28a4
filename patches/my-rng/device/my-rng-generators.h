/*
 * my_rng: the generators that the device can give its numbers from
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_MISC_MY_RNG_GENERATORS_H
#define HW_MISC_MY_RNG_GENERATORS_H

#define LIBC_WORDS      31
#define MT19937_WORDS   624

/**
 * MyRngGenerator: what the generators remember between two numbers
 * @libc_words: the last numbers of the recurrence, a ring
 * @libc_oldest: index of the oldest of @libc_words
 * @xorshift64star: never 0
 * @pcg32: any number
 * @mt19937_words: the last numbers of the recurrence, a ring
 * @mt19937_oldest: index of the oldest of @mt19937_words
 */
typedef struct MyRngGenerator {
    uint32_t libc_words[LIBC_WORDS];
    uint32_t libc_oldest;
    uint64_t xorshift64star;
    uint64_t pcg32;
    uint32_t mt19937_words[MT19937_WORDS];
    uint32_t mt19937_oldest;
} MyRngGenerator;

/**
 * MyRngAlgorithm: a value of the property "algorithm"
 * @name: the value
 * @seed: start the sequence that belongs to a seed
 * @next: give the next number of the sequence
 * @is_sound: whether @next can go on from a state that somebody else made
 */
typedef struct MyRngAlgorithm {
    const char *name;
    void (*seed)(MyRngGenerator *g, uint32_t seed);
    uint32_t (*next)(MyRngGenerator *g);
    bool (*is_sound)(const MyRngGenerator *g);
} MyRngAlgorithm;

/*
 * The first one is the default. The migration stream holds indices, so that new
 * ones go to the end. One without a name ends the list.
 */
extern const MyRngAlgorithm my_rng_algorithms[];

#endif /* HW_MISC_MY_RNG_GENERATORS_H */
