import { NbdError } from './protocol.js';

/** Either at once or later. A device whose operations end at once is served faster. */
export type MaybePromise<T> = T | Promise<T>;

/**
 * A block device made of your own code.
 *
 * Offsets and lengths are in bytes, within the device, and multiples of `blockSize()`: a client's requests for parts of
 * blocks are turned into reads and writes of whole ones. A device that counts its blocks with a bigint gets its offsets
 * as bigint.
 *
 * Buffers belong to the server: they are valid until the operation has ended. Operations may overlap in time unless the
 * device ends each of them at once. What an operation throws becomes EIO for the client, or the error that a
 * `DeviceError` names; nothing that a device does ends the server.
 */
export interface BlockDevice<Offset extends number | bigint = number> {
  /** Bytes; a power of 2 from 1 to 65536. */
  blockSize(): number;
  blocks(): Offset;
  /** Fills all of `buffer` with what is at `offset`. */
  read(offset: Offset, buffer: Buffer): MaybePromise<void>;
  /** Keeps `buffer` at `offset`. A device without it is read-only. */
  write?(offset: Offset, buffer: Buffer): MaybePromise<void>;
  /** Ends when all writes that have ended before are on stable storage. */
  flush?(): MaybePromise<void>;
  /** The client does not need these bytes any more; a hint. */
  trim?(offset: Offset, length: number): MaybePromise<void>;
  /** Writes zeros, quicker than `write` would; without it zeros are written. */
  zero?(offset: Offset, length: number): MaybePromise<void>;
  /** What is known of the bytes from `offset` on, in order and without gaps: at least the first extent. */
  extents?(offset: Offset, length: number): MaybePromise<readonly Extent[]>;
  /** The last client has gone in good order, or the server ends. Not called when a connection breaks. */
  unmount?(): MaybePromise<void>;
}

/** Any device, whichever way it counts. */
export type AnyBlockDevice = BlockDevice<number> | BlockDevice<bigint>;

/** A range with the same state; "`base:allocation` metadata context" of the specification. */
export interface Extent {
  /** Bytes; more than 0. */
  readonly length: number;
  /** Nothing is allocated for it. */
  readonly hole: boolean;
  /** It reads as zeros. */
  readonly zero: boolean;
}

/** An operation that failed, with the error that the client gets to see. */
export class DeviceError extends Error {
  override readonly name = 'DeviceError';

  /** @param code the name of an error of the protocol: `EIO`, `ENOSPC`. */
  constructor(
    readonly code: keyof typeof NbdError,
    message: string = code,
  ) {
    super(message);
  }
}

/** Thrown by a device: the connection is cut as if the network had failed, maybe in the middle of the answer. */
export class ConnectionCut extends Error {
  override readonly name = 'ConnectionCut';

  /** @param answered bytes of the answer that are still sent; 0: nothing. */
  constructor(readonly answered = 0) {
    super(`the connection is cut after ${answered} bytes of the answer`);
  }
}

/** Errors of the operating system, as the protocol names them ("Error values"). */
const BY_SYSTEM_NAME: Readonly<Record<string, number>> = {
  ...NbdError,
  EACCES: NbdError.EPERM,
  EROFS: NbdError.EPERM,
  EDQUOT: NbdError.ENOSPC,
  EFBIG: NbdError.ENOSPC,
};

/** The protocol's number for whatever a device has thrown. */
export function errorNumber(error: unknown): number {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return (typeof code === 'string' ? BY_SYSTEM_NAME[code] : undefined) ?? NbdError.EIO;
}
