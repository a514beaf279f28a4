import { describe, expect, test } from 'vitest';
import { CheckFailure, expectErrno, expectTrue } from '../../src/lab/check.js';
import { expectLine } from '../../src/labs/virtblkiosim/device.js';

function failureOf(body: () => unknown): CheckFailure {
  try {
    body();
  } catch (error) {
    if (error instanceof CheckFailure) return error;
  }
  throw new Error('it did not fail');
}

describe('what a check says of a wrong value', () => {
  test.each([
    ['EBUSY', null, 'registering failed with EBUSY'],
    [null, 'EFAULT', 'registering reports success instead of EFAULT'],
    ['EINVAL', 'EFAULT', 'registering failed with EINVAL instead of EFAULT'],
    [undefined, null, 'registering gave no answer'],
  ])('an error %s where %s is expected', (actual, expected, fact) => {
    expect(failureOf(() => expectErrno('registering', actual, expected, 'why'))).toMatchObject({
      message: fact,
      hint: 'why',
      outcome: 'failed',
    });
  });

  test('what to do about an error that is not the right one, by its name', () => {
    const hintOf = (expected: string | null) => failureOf(() => expectErrno('a call', 'EIO', expected)).hint;
    expect(hintOf('ENOTTY')).toContain('default case');
    expect(hintOf('EFAULT')).toContain('copy_from_user');
    expect(hintOf(null)).toBeUndefined();
  });

  test('nothing when it is right', () => {
    expectErrno('registering', null, null);
    expectErrno('registering', 'EFAULT', 'EFAULT');
    expectTrue(true, 'never said');
    expect(failureOf(() => expectTrue(false, 'the page was written to')).message).toBe(
      'the page was written to',
    );
  });

  test('a line of the log is shown as the student has to write it', () => {
    const line = 'virtblkiosim: (major <number>) Removing module...';
    expect(expectLine(['x', 'virtblkiosim: (major 254) Removing module...'], 'removing', line)[1]).toBe(
      '254',
    );
    const { message, hint } = failureOf(() =>
      expectLine(['virtblkiosim: (major 254) Removing module!!!'], 'removing', line),
    );
    expect(message).toBe('the kernel log has 0 lines about removing instead of one');
    expect(hint).toBe(`the line looks like this: ${line}`);
  });
});
