import { createHash } from 'node:crypto';

/**
 * Choices that follow from a run's nonce and a label: nobody who handed something in can know them, and a replay makes
 * them again.
 */
export class Choice {
  readonly #seed: Buffer;
  readonly #label: string;
  #count = 0;

  constructor(seed: Buffer, label: string) {
    this.#seed = seed;
    this.#label = label;
  }

  /** An integer from 0 to `limit` − 1. */
  below(limit: number): number {
    this.#count += 1;
    const hash = createHash('sha256').update(this.#seed).update(`${this.#label} ${this.#count}`);
    return hash.digest().readUInt32LE(0) % limit;
  }

  /** `count` different elements, in a chosen order. */
  some<T>(list: readonly T[], count: number): T[] {
    const rest = [...list];
    return Array.from({ length: Math.min(count, rest.length) }, () =>
      rest.splice(this.below(rest.length), 1),
    ).flat();
  }
}
