import { setTimeout as delay } from 'node:timers/promises';
import { LabError } from '../../errors.js';
import { type BlockDevice, ConnectionCut, DeviceError } from '../device.js';
import { NbdError } from '../protocol.js';
import { type Operation, wrap } from './wrap.js';

/** When a fault happens: all that is given has to hold. */
export interface When {
  readonly kinds?: readonly Operation['kind'][];
  /** First and last block, in blocks of the device, that an operation has to touch. */
  readonly blocks?: readonly [number, number];
  /** First and last number of the operation, counted from 1 among reads, writes, flushes, trims and zeroings. */
  readonly requests?: readonly [number, number];
}

/** What happens instead of the operation, or besides it. */
export type Fault = { readonly when: When } & (
  | { readonly fault: 'error'; readonly error: keyof typeof NbdError }
  /** Milliseconds before the operation. */
  | { readonly fault: 'delay'; readonly milliseconds: number }
  /** Of a write only so many bytes are kept, and it succeeds. */
  | { readonly fault: 'torn'; readonly bytes: number }
  /** The connection breaks after so many bytes of the answer to a read. */
  | { readonly fault: 'short'; readonly bytes: number }
  /** The connection breaks before the operation. */
  | { readonly fault: 'disconnect' }
);

/**
 * A device whose operations fail by a script, each rule in order; the first that ends an operation decides.
 *
 * @param onFault called for each fault when it happens.
 */
export function faulty(
  device: BlockDevice,
  script: readonly Fault[],
  onFault: (fault: Fault, operation: Operation, request: number) => void = () => {},
): BlockDevice {
  const blockSize = device.blockSize();
  let count = 0;
  return wrap(device, async (operation, carryOut) => {
    const request = COUNTED.includes(operation.kind) ? ++count : 0;
    for (const fault of script) {
      if (!applies(fault.when, operation, request, blockSize)) continue;
      onFault(fault, operation, request);
      if (await happens(fault, operation, device, carryOut)) return;
    }
    await carryOut();
  });
}

const COUNTED: readonly string[] = ['read', 'write', 'flush', 'trim', 'zero'];

function applies(
  { kinds, blocks, requests }: When,
  operation: Operation,
  request: number,
  blockSize: number,
) {
  const { kind, offset, length } = operation;
  if (request === 0 || (kinds !== undefined && !kinds.includes(kind))) return false;
  if (requests !== undefined && (request < requests[0] || request > requests[1])) return false;
  if (blocks === undefined) return true;
  return length > 0 && offset < (blocks[1] + 1) * blockSize && offset + length > blocks[0] * blockSize;
}

/** Whether the operation has ended with it. */
async function happens(
  fault: Fault,
  operation: Operation,
  device: BlockDevice,
  carryOut: () => unknown,
): Promise<boolean> {
  switch (fault.fault) {
    case 'error':
      throw new DeviceError(fault.error, 'by the fault script');
    case 'disconnect':
      throw new ConnectionCut();
    case 'delay':
      await delay(fault.milliseconds);
      return false;
    case 'short':
      if (operation.kind !== 'read') return false;
      await carryOut();
      throw new ConnectionCut(fault.bytes);
    case 'torn':
      if (operation.kind !== 'write' || operation.buffer === undefined) return false;
      await tear(fault.bytes, operation.offset, operation.buffer, device);
      return true;
  }
}

/** A block that is torn in the middle keeps the rest of what it held. */
async function tear(bytes: number, offset: number, buffer: Buffer, device: BlockDevice): Promise<void> {
  const kept = Buffer.allocUnsafe(buffer.length);
  await device.read(offset, kept);
  buffer.copy(kept, 0, 0, Math.min(bytes, buffer.length));
  await device.write?.(offset, kept);
}

const USAGE = [
  'error EIO block 7              an error (EIO, ENOSPC, EPERM …) for whatever touches block 7',
  'error EIO blocks 7-9 write     only for writes to these blocks',
  'delay 50 read                  milliseconds before each read',
  'torn 512 write request 3       of the third request, a write, only 512 bytes are kept',
  'short 100 read request 5       the connection breaks after 100 bytes of the answer',
  'disconnect request 10          the connection breaks at the tenth request',
];

/**
 * Reads a fault script: one fault per line or between semicolons, `#` begins a comment.
 *
 * @throws LabError `nbd/fault-script` with the line and the possibilities.
 */
export function parseFaultScript(text: string): Fault[] {
  return text
    .split(/[\n;]/)
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '')
    .map(parseFault);
}

function parseFault(line: string): Fault {
  const words = line.split(/\s+/);
  const name = words.shift();
  const when: { -readonly [K in keyof When]: When[K] } = {};
  const number = (word = '') => {
    if (!/^\d+$/.test(word))
      throw badScript(line, `${word === '' ? 'a number is missing' : `${word} is no number`}`);
    return Number(word);
  };
  const range = (word = ''): readonly [number, number] => {
    const [first, last = first] = word.split('-');
    return [number(first), number(last)];
  };
  const fault = ((): Omit<Extract<Fault, object>, 'when'> & { fault: Fault['fault'] } => {
    switch (name) {
      case 'error': {
        const error = words.shift() ?? '';
        if (!(error in NbdError))
          throw badScript(line, `${error} is none of ${Object.keys(NbdError).join(', ')}`);
        return { fault: 'error', error: error as keyof typeof NbdError } as never;
      }
      case 'delay':
        return { fault: 'delay', milliseconds: number(words.shift()) } as never;
      case 'torn':
      case 'short':
        return { fault: name, bytes: number(words.shift()) } as never;
      case 'disconnect':
        return { fault: 'disconnect' };
      default:
        throw badScript(line, `there is no fault ${name}`);
    }
  })();
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (/^blocks?$/.test(word)) when.blocks = range(words.shift());
    else if (/^requests?$/.test(word)) when.requests = range(words.shift());
    else if (COUNTED.includes(word)) when.kinds = [...(when.kinds ?? []), word as Operation['kind']];
    else throw badScript(line, `${word} is not understood`);
  }
  return { ...fault, when } as Fault;
}

function badScript(line: string, why: string): LabError {
  return new LabError({
    code: 'nbd/fault-script',
    blame: 'user',
    fact: `the fault script has a line that is not understood: ${line}`,
    evidence: [why, 'examples:', ...USAGE],
    next: 'correct the line',
  });
}
