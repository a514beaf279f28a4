import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toStudentMarkdown } from '../../src/grade/render/markdown.js';
import { block, prose, span } from '../../src/grade/render/markdown-text.js';
import { fixture, only, poisoned } from '../support/grade-reports.js';

function feedback(name: string): string {
  return toStudentMarkdown(fixture(name), only(fixture(name)));
}

describe('feedback for a student', () => {
  test('gives lines that passed one row with their proof', () => {
    const text = feedback('good');
    expect(text).toContain('**12 of 12 marks** so far. A person gives up to 8 more.');
    expect(text).toContain('| ✓ passed | 3 of 3 | 6 seeds (0, 1, 0x42');
    expect(text).not.toContain('What to repair');
    expect(text).toContain('the mail headers were left out');
  });

  test('says what was expected, seen, where and how to see it again', () => {
    const text = feedback('bad');
    expect(text).toContain(
      '- **Expected:** different seeds give different sequences (student device, qtest)',
    );
    expect(text).toContain('- **Seen:** seeds 0x42 and 0x142 give the same sequence');
    expect(text).toContain('- **Likely cause, and what to do:** only the lowest 8 bits');
    expect(text).toContain('In `hw/misc/my-rng.c`, line 64:');
    expect(text).toContain('→ 64          srand((uint8_t)value);');
    expect(text).toContain('./lab replay evidence/charles-babbage --line device-repeat-seed');
    expect(text).toContain('What to do: hand in the report as a PDF beside the patches');
    expect(text).toContain('[-Wunused-variable]');
    expect(text).toContain('Repair what stands above first');
  });

  test('shows a crash with its place in the sources, the code once', () => {
    const text = feedback('crashed');
    expect(text).toContain('- `my_rng_ioctl+0x4f/0xf0` at `drivers/misc/my-rng.c:45`');
    expect(text.match(/→ 45/g)).toHaveLength(1);
  });

  test('says what lateness costs', () => {
    expect(feedback('late')).toContain('2 days begun, minus 20 %. That leaves **9.6 marks** so far.');
    const [, second] = fixture('late').submissions;
    expect(second && toStudentMarkdown(fixture('late'), second)).toContain(': on time.');
  });

  test('never charges the student with a fault of the host', () => {
    const text = feedback('canary-failed');
    expect(text).toContain('Nothing was charged for it');
    expect(text).toContain('The reference solution did not pass on the same machine');
    expect(text).toContain('This is a fault of the machine that graded, not yours');
    expect(feedback('no-sandbox')).toContain('Its marks do not count');
  });
});

describe('hostile text', () => {
  test.each([
    ['a\nb <b>&', 'a b &lt;b&gt;&amp;'],
    ['![x](http://e.org)', '\\!\\[x\\](http&#58;//e.org)'],
    ['**all** `marks` my_rng_driver _x_', '\\*\\*all\\*\\* \\`marks\\` my_rng_driver \\_x\\_'],
    ['1. one', '1\\. one'],
    ['- one', '\\- one'],
    ['a | b', 'a \\| b'],
  ])('as prose: %j', (text, expected) => {
    expect(prose(text)).toBe(expected);
  });

  test('as a span or block: its fence is longer than any within', () => {
    expect(span('a``b|')).toBe('```a``b¦```');
    expect(span('`')).toBe('`` ` ``');
    expect(block(['```', 'x'])).toEqual(['````', '```', 'x', '````']);
    expect(block(['x'.repeat(500)])[1]).toBe(`${'x'.repeat(400)}… (100 more characters)`);
    expect(block(['\n'.repeat(99)]).at(-2)).toBe('… (40 more lines)');
  });

  test('outside of code nothing of it is markup, and no block stays open', () => {
    const parts = fc.constantFrom(
      '`',
      '```',
      '~~~',
      '\n',
      '<b>',
      '|',
      '# ',
      '\x1b[2J',
      '\0',
      '](',
      '\\',
      'x',
    );
    const hostile = fc.oneof(
      fc.array(parts, { maxLength: 12 }).map((list) => list.join('')),
      fc.string({ unit: 'binary' }),
    );
    const headings = headingsOf(poisoned('harmless'));
    fc.assert(
      fc.property(hostile, (text) => {
        expect(headingsOf(poisoned(text))).toBe(headings);
      }),
      { numRuns: 60 },
    );
  });
});

/** Checks a student's Markdown line by line as a reader of CommonMark would; gives its number of headings. */
function headingsOf(report: ReturnType<typeof poisoned>): number {
  let fence = '';
  let headings = 0;
  for (const line of toStudentMarkdown(report, only(report)).split('\n')) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    expect(line).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/);
    const mark = /^ {0,3}(`{3,}|~{3,})(.*)$/.exec(line);
    if (fence !== '') {
      if (mark?.[2]?.trim() === '' && mark[1]?.startsWith(fence)) fence = '';
    } else if (mark !== null && !mark[2]?.includes('`')) fence = mark[1] ?? '';
    else {
      expect(withoutSpans(line)).not.toMatch(/<|(?<!\\)!\[|(?<!\\)\]\(/);
      if (/^ {0,3}#{1,6} /.test(line)) headings++;
    }
  }
  expect(fence).toBe('');
  return headings;
}

function withoutSpans(line: string): string {
  return line.replace(/\\[\\`]|(`+)(?!`).*?(?<!`)\1(?!`)/g, '');
}
