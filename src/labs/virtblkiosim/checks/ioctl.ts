import { type CheckContext, CheckFailure, expectEqual, expectErrno, expectTrue } from '../../../lab/check.js';
import type { LineCheck, ModuleSetup } from '../../../lab/module-checks.js';
import { type EventOf, eventOf, eventsOf, type Observed, runProbe } from '../probe.js';

/** A block is no smaller than a sector, and no larger than the probe's buffer. */
const MAX_BLOCK = 2 ** 20;

/** The four commands: what they do, and what they log. */
export function ioctlChecks(setup: ModuleSetup): LineCheck[] {
  const common = { line: 'ioctl', machine: 'ioctl', deadline: 15_000 };
  const within = (run: (context: CheckContext, seen: Observed) => void) => async (context: CheckContext) => {
    run(context, await runProbe(context, setup, 'ioctls', context.nonce.readUInt32LE(12)));
  };
  return [
    {
      ...common,
      id: 'ioctl-size',
      title: "_IO('q',0) registers the process, _IOR('q',1) gives the size of a block and no more than that",
      run: within(size),
    },
    {
      ...common,
      id: 'ioctl-blocks',
      title:
        "a block written with _IOW('q',3) comes back with _IOR('q',2), exactly its size, wherever it lies",
      needs: ['ioctl-size'],
      run: within(blocks),
    },
    {
      ...common,
      id: 'ioctl-storage',
      title: 'the block that was written is on the disk: block I/O finds it',
      needs: ['ioctl-blocks'],
      run: within(storage),
    },
    {
      ...common,
      id: 'ioctl-log',
      title: 'every ioctl is logged with direction, size, type letter and number',
      needs: ['ioctl-size'],
      run: within(logged),
    },
  ];
}

function size({ prove }: CheckContext, seen: Observed): void {
  expectErrno('registering', eventOf(seen, 'register').error, null);
  const { error, size: bytes, intact } = eventOf(seen, 'size');
  expectErrno('getting the size', error, null);
  expectTrue(intact, 'more than an unsigned long was written', 'copy sizeof(unsigned long) bytes');
  if (bytes < 512 || bytes > MAX_BLOCK || bytes % 512 !== 0)
    throw new CheckFailure(`a block of ${bytes} bytes is no whole number of sectors`);
  prove(`registered; a block has ${bytes} bytes`);
}

function blocks({ prove }: CheckContext, seen: Observed): void {
  expectBlocks(seen);
  const cases = eventsOf(seen, 'block').filter(({ command }) => command === 'read');
  prove(`${cases.map((block) => block.case).join(', ')}: written, read back and equal, canaries intact`);
}

/** Each block was written and read back, and nothing around it was touched. @throws CheckFailure */
export function expectBlocks(seen: Observed): void {
  const all = eventsOf(seen, 'block');
  expectEqual('the number of blocks written and read', all.length, 8);
  for (const block of all) expectBlock(block);
}

function expectBlock({ command, case: name, error, intact, equal }: EventOf<'block'>): void {
  expectErrno(`the ${command} of a block at "${name}"`, error, null);
  const wide = `the ${command} copies another number of bytes than the size that it names`;
  expectTrue(intact, `the ${command} changed memory around the block at "${name}"`, wide);
  const other = 'after registering, the first block that is read is the first that was written';
  expectTrue(equal, `the block at "${name}" did not come back as it was written`, other);
}

function storage({ prove }: CheckContext, seen: Observed): void {
  const { count, offset, error } = eventOf(seen, 'found');
  expectErrno('searching the disk', error, null);
  const hint = 'the ioctl must write to the storage that block I/O reads, and past no cache of it';
  if (count === 0) throw new CheckFailure('the block that the ioctl wrote is nowhere on the disk', [], hint);
  prove(`found at offset ${offset}`);
}

const COMMANDS = [
  { what: 'register', direction: /none|no |_IOC_NONE|\b0\b/i, size: 0, number: 0 },
  { what: 'size', direction: /read|_IOR|\b2\b/i, size: 8, number: 1 },
  { what: 'read', direction: /read|_IOR|\b2\b/i, size: 8, number: 2 },
  { what: 'write', direction: /writ|_IOW|\b1\b/i, size: 8, number: 3 },
];

/** The words of the lines are the author's; what they must tell is not. */
function logged({ prove }: CheckContext, { log }: Observed): void {
  const lines = log.filter((line) => line.startsWith('virtblkiosim: '));
  for (const { what, direction, size: bytes, number } of COMMANDS) {
    const tells = (line: string) =>
      /\bq\b|0x71/.test(line) && hasNumber(line, bytes) && hasNumber(line, number) && direction.test(line);
    const line = lines.find(tells);
    if (line === undefined) {
      throw new CheckFailure(
        `no line of the kernel log tells direction, size ${bytes}, type q and number ${number} of "${what}"`,
        lines.slice(-20),
        'log _IOC_DIR, _IOC_SIZE, _IOC_TYPE as a letter, and _IOC_NR of each command',
      );
    }
    prove(`${what}: ${line}`);
  }
}

function hasNumber(line: string, value: number): boolean {
  return new RegExp(`\\b(${value}|0x0*${value.toString(16)})\\b`).test(line.replace(/^virtblkiosim: /, ''));
}
