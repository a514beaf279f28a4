import type { Timeouts } from '../timeouts.js';

/** A file of a hand-in. */
export interface Entry {
  /** Name within the hand-in; archives may hold hostile ones. */
  readonly path: string;
  readonly data: Buffer;
  /** Target: it is a symbolic link. */
  readonly link?: string;
  /** `data` is a raw deflate stream, and a zip's directory claims that so many bytes are in it. */
  readonly deflated?: { readonly claims: number };
}

/** The time of every file of every hand-in: a Thursday noon. */
export const HANDED_IN = new Date('2024-01-18T12:00:00Z');

export interface MakeOptions {
  readonly signal: AbortSignal;
  readonly timeouts: Timeouts;
}
