import { describe, expect, test } from 'vitest';
import { commandsIn, isAsShown } from '../support/transcript.js';

describe('a guide', () => {
  const guide = [
    '```sh',
    '$ not this',
    '```',
    '```console',
    '$ one',
    'a',
    '',
    'b',
    '$ two',
    '```',
    '$ prose',
  ];

  test('has its commands in the blocks of the console', () => {
    expect(commandsIn(guide.join('\n'))).toEqual([
      { command: 'one', output: ['a', '', 'b'], line: 5 },
      { command: 'two', output: [], line: 9 },
    ]);
  });

  test.each([
    [['a  b'], '\ta b\n', true],
    [['a'], 'a\nb\n', false],
    [['a', 'b'], 'a\n', false],
    [[], '', true],
    [[], 'something\n', false],
    [['took … s'], 'took 1.5 s\n', true],
    [['took … s'], 'took 1.5\ns\n', false],
    [['a', '…', 'z'], 'a\nz\n', true],
    [['a', '…', 'z'], 'a\nb\n\nz\n', true],
    [['a', '…'], 'a\n', true],
    [['a.c'], 'abc\n', false],
    [['[…] x'], '[ 1.2] x\n', true],
  ])('%j and what was printed, %j: %s', (shown, printed, same) => {
    expect(isAsShown(shown, printed)).toBe(same);
  });
});
