import { describe, expect, test } from 'vitest';
import { whitespaceErrors } from '../../src/workfolder/whitespace.js';

describe('blanks in a patch', () => {
  const patch = (...lines: string[]) =>
    ['diff -urN a/x.c b/x.c', '--- a/x.c', '+++ b/x.c', '@@ -10,2 +10,9 @@ int main', ...lines, ''].join(
      '\n',
    );

  test('are named with the lines of the new file, only where they were added', () => {
    const text = patch(
      ' old \t',
      '-gone \t',
      '+fine',
      '+ends in a blank ',
      '+ \tblank before tab',
      '+\ttab, fine',
    );
    expect(whitespaceErrors(text)).toEqual([
      { path: 'x.c', why: 'blanks at the end of a line or before a tab: line 12, 13' },
    ]);
  });

  test('are counted per file, and many are cut short', () => {
    const many = patch(...Array.from({ length: 7 }, () => '+x '));
    const other = many.replaceAll('x.c', 'y.c');
    expect(whitespaceErrors(many + other)).toEqual([
      { path: 'x.c', why: 'blanks at the end of a line or before a tab: line 10, 11, 12, 13, 14 and more' },
      { path: 'y.c', why: 'blanks at the end of a line or before a tab: line 10, 11, 12, 13, 14 and more' },
    ]);
  });

  test('a line with nothing objectionable gives no remark, Windows line ends included', () => {
    expect(whitespaceErrors(patch('+int a;\r', '+', '+\tif (a)'))).toEqual([]);
  });
});
