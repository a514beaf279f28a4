import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeCommand, shellText } from '../../src/guest/command.js';
import { Tail } from '../../src/guest/output.js';

test('a tail is the end of what was pushed, whatever the portions', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 9 })), fc.integer({ min: 0, max: 20 }), (chunks, limit) => {
      const tail = new Tail(limit);
      for (const chunk of chunks) tail.push(Buffer.from(chunk));
      const all = Buffer.from(chunks.join(''));
      expect(tail.bytes()).toEqual(all.subarray(Math.max(0, all.length - limit)));
      expect(tail.total).toBe(all.length);
      expect(tail.dropped).toBe(Math.max(0, all.length - limit));
    }),
  );
});

test('a string is passed to the shell as it is, a list word for word', () => {
  expect(shellText('a | b')).toBe('a | b');
  expect(shellText(['ls', '-l', '/a b', "it's"])).toBe(`'ls' -l '/a b' 'it'\\''s'`);
});

test('a description is one short line', () => {
  expect(describeCommand('a\n  b')).toBe('a b');
  expect(describeCommand(['x'.repeat(500)])).toHaveLength(200);
});
