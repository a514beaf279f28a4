import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ConsoleExcerpt } from '../../src/grade/grade-report.js';
import { toHtml } from '../../src/grade/render/html.js';
import { consoleExcerpt, timeline } from '../../src/grade/render/html-evidence.js';
import { hrefBelow, html } from '../../src/grade/render/html-template.js';
import { classOf, fixture, fixtureNames, poisoned } from '../support/grade-reports.js';

describe('the template', () => {
  test('escapes what is put in, but not its own markup', () => {
    expect(html`<a title="${'"<&\''}">${html`<b>${'<i>'}</b>`}</a>`.text).toBe(
      '<a title="&quot;&lt;&amp;&#39;"><b>&lt;i&gt;</b></a>',
    );
    expect(html`${[html`<b></b>`, '<', 1]}${undefined}${false}`.text).toBe('<b></b>&lt;1');
  });
});

describe('links', () => {
  test.each([
    ['evidence/a b', './evidence/a%20b'],
    ['javascript:alert(1)', './javascript%3Aalert(1)'],
    ['//example.org/x', './example.org/x'],
    ['/etc/passwd', './etc/passwd'],
    ['a"b<c\ud800', './a%22b%3Cc%EF%BF%BD'],
  ])('%j leads to %s', (path, expected) => {
    expect(hrefBelow(path)).toBe(expected);
  });

  test('never lead out of the folder', () => {
    expect(hrefBelow('evidence', '../../etc')).toBeUndefined();
  });
});

describe('the page', () => {
  test.each(fixtureNames)('has all submissions, well formed: %s', (name) => {
    const page = toHtml(fixture(name));
    expect(page.match(/<details class="submission/g)).toHaveLength(fixture(name).submissions.length);
    expect(unclosed(page)).toEqual([]);
  });

  test('lets nothing run but its own script, and loads nothing', () => {
    const page = toHtml(fixture('hostile'));
    const script = /<script>(.*?)<\/script>/s.exec(page)?.[1] ?? '';
    const hash = createHash('sha256').update(script).digest('base64');
    expect(page).toContain(`default-src &#39;none&#39;`);
    expect(page).toContain(`script-src &#39;sha256-${hash}&#39;`);
    const targets = [...page.matchAll(/<[^>]* (?:src|href)="([^"]*)"/g)].map(([, target = '']) => target);
    expect(targets.filter((target) => !/^(?:#|\.\/)/.test(target))).toEqual([]);
  });

  test('warns of what makes it doubtful', () => {
    expect(toHtml(fixture('no-sandbox'))).toContain('Graded without a sandbox');
    const failed = toHtml(fixture('canary-failed'));
    expect(failed).toContain('The reference solution did not pass at the end');
    expect(failed).toContain('The host failed for 1 submission');
    expect(toHtml(fixture('good'))).not.toContain('class="alarm"');
    expect(toHtml({ ...fixture('good'), canaries: [] })).toContain('The reference solution was not graded');
  });

  test('lists those first that need attention', () => {
    const rows = [...toHtml(classOf(60)).matchAll(/<tr class="([\w-]+)"/g)].map(([, outcome]) => outcome);
    expect(rows).toHaveLength(60);
    expect([...new Set(rows)]).toEqual(['error', 'crashed', 'timed-out', 'failed', 'passed']);
  });

  test('says all that a grader needs', () => {
    const page = toHtml(fixture('crashed')) + toHtml(fixture('bad')) + toHtml(fixture('late'));
    for (const text of [
      'charged to the submission',
      'drivers/misc/my-rng.c:45',
      '<mark class="row"><span class="ln">45</span>',
      '<ins class="row">+run_command(&#39;true&#39;, check: true)</ins>',
      '<del class="row">-# end</del>',
      'href="./evidence/grace-hopper/booted/console.log"',
      '<code class="command">./lab replay evidence/grace-hopper</code>',
      './lab replay evidence/grace-hopper --line driver-safe-transfer',
      '2 days late, times 0.8: 9.6',
      'whose result this is',
      'What the student should do:',
    ]) {
      expect(page).toContain(text);
    }
  });

  test('has the same elements, whatever the text', () => {
    const shape = (text: string) => tags(toHtml(poisoned(text)));
    const parts = fc.constantFrom(
      '<',
      '>',
      '"',
      "'",
      '&',
      '</script>',
      '<!--',
      ']]>',
      '\n',
      '\0',
      '\ud800',
      '`',
    );
    const hostile = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(parts, { maxLength: 8 }).map((list) => list.join('')),
    );
    const expected = shape('harmless');
    fc.assert(
      fc.property(hostile, (text) => {
        expect(shape(`a${text.replaceAll('\n', ' ')}`)).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });

  test('is there for no submission, too', () => {
    expect(unclosed(toHtml({ ...fixture('good'), submissions: [] }))).toEqual([]);
  });
});

describe('a console', () => {
  const excerpt = fc
    .tuple(fc.nat({ max: 60 }), fc.array(fc.tuple(fc.integer({ min: -9, max: 80 }), fc.nat({ max: 20 }))))
    .map(([length, ranges]): ConsoleExcerpt => {
      const marked = ranges.map(([from, size]) => ({ from, to: from + size, why: 'this' }));
      const lines = Array.from({ length }, (_, index) => `line ${index}.`);
      return { on: 'a test', lines, marked, log: 'log' };
    });

  test('shows every line once, in order', () => {
    fc.assert(
      fc.property(excerpt, (value) => {
        const shown = consoleExcerpt(value, 'folder').text.match(/line \d+\./g) ?? [];
        expect(shown).toEqual(value.lines);
      }),
    );
  });

  test('folds what is not near a mark', () => {
    const lines = Array.from({ length: 40 }, (_, index) => `line ${index}.`);
    const marked = [{ from: 20, to: 22, why: 'an oops' }];
    const { text } = consoleExcerpt({ on: 'a test', lines, marked, log: 'log' }, 'folder');
    expect(text).toContain('<summary>17 more lines</summary>');
    expect(text).toContain('an oops</p><pre class="hot">line 20.\nline 21.</pre>');
  });
});

describe('the time line', () => {
  test('stays within its track, whatever the times', () => {
    const span = fc.record({ start: fc.integer(), end: fc.integer() });
    fc.assert(
      fc.property(fc.array(span), (spans) => {
        const { text } = timeline(spans.map((times) => ({ stage: 's', title: 't', ...times })));
        for (const [, left, width] of text.matchAll(/margin-left:([^%]*)%;width:([^%]*)%/g)) {
          expect(Number(left)).toBeGreaterThanOrEqual(0);
          expect(Number(width)).toBeGreaterThanOrEqual(0);
          expect(Number(left) + Number(width)).toBeLessThanOrEqual(100.01);
        }
        expect(text).not.toMatch(/NaN|Infinity/);
      }),
    );
  });
});

/** Names of all tags, without those of style and script. */
function tags(page: string): string[] {
  const bare = page.replace(/<(style|script)>.*?<\/\1>/gs, '');
  return [...bare.matchAll(/<[^>]*>/g)].map(([tag]) => tag.replace(/\s.*/s, ''));
}

function unclosed(page: string): string[] {
  const open: string[] = [];
  for (const tag of tags(page)) {
    const name = tag.replace(/[</>]/g, '');
    if (['!doctype', 'meta', 'input', 'br'].includes(name)) continue;
    if (!tag.startsWith('</')) open.push(name);
    else if (open.pop() !== name) return [`${tag} closes another element`];
  }
  return open;
}
