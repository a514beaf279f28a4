import { beforeEach, describe, expect, test } from 'vitest';
import { toHtml } from '../../src/grade/render/html.js';
import { browser, look, NO_BROWSER } from '../support/browser.js';
import { classOf, fixture } from '../support/grade-reports.js';
import { useTempFolder } from '../support/temp.js';

const folder = useTempFolder();

beforeEach((context) => {
  if (browser === undefined) context.skip(NO_BROWSER);
});

const ATTACK = `</script></pre><img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;

describe('the grader’s page in a browser', () => {
  test('the attack works where nothing stops it', async () => {
    expect(await dom(`<!doctype html><title>safe</title><pre>${ATTACK}`)).toContain('<title>owned</title>');
  });

  test('hostile names and consoles do nothing', async () => {
    const page = toHtml(fixture('hostile'));
    expect(page).toContain('&lt;img src=x onerror=document.title=String(666)&gt;');
    const seen = await dom(page);
    expect(seen).toContain('<title>my-rng: grading</title>');
    expect(seen).not.toContain('<img');
    expect(seen.match(/<script/g)).toHaveLength(1);
  });

  test('even markup that got through would not run', async () => {
    const page = toHtml(fixture('hostile')).replace('<main>', `<main>${ATTACK}`);
    const seen = await dom(page);
    expect(seen).toContain('<img');
    expect(seen).toContain('<title>my-rng: grading</title>');
  });

  test('its own script runs: the controls appear', async () => {
    expect(await dom(toHtml(fixture('bad')))).toContain('<p class="controls">');
  });

  test('a link to a submission opens it', async () => {
    const page = toHtml(fixture('bad'));
    expect(openOnes(await dom(page))).toHaveLength(0);
    expect(openOnes(await dom(page, '#s1'))).toHaveLength(1);
  });

  test('sorts by a column, numbers as numbers', async () => {
    const seen = await driven(toHtml(fixture('bad')), `heading('Marks').click();`);
    expect(names(seen)).toEqual(['charles-babbage', 'tommy-flowers']);
    const again = await driven(toHtml(fixture('bad')), `heading('Marks').click(); heading('Marks').click();`);
    expect(names(again)).toEqual(['tommy-flowers', 'charles-babbage']);
    expect(again).toMatch(/aria-sort="descending"><button type="button"><span>Marks/);
  });

  test('filters hundreds of submissions by text and by outcome', async () => {
    const page = toHtml(classOf(300));
    const typed = await driven(page, `type('unmapped');`);
    const crashed = names(typed);
    expect(crashed.length).toBeGreaterThan(5);
    expect(crashed.every((name) => name.startsWith('grace-hopper'))).toBe(true);
    expect(typed).toContain(`${crashed.length} of 300 shown`);
    const pressed = await driven(page, `document.querySelector('.chip.crashed').click();`);
    expect(names(pressed)).toEqual(crashed);
    expect(names(await driven(page, `type('unmapped'); type('');`))).toHaveLength(300);
  });

  test('is complete without scripts', async () => {
    const forbidden = toHtml(fixture('bad')).replace(/script-src &#39;.*?&#39;/, 'script-src &#39;none&#39;');
    const seen = await dom(forbidden);
    expect(seen).toContain('<p class="controls" hidden="">');
    expect(names(seen)).toEqual(['tommy-flowers', 'charles-babbage']);
    expect(seen).toContain('srand((uint8_t)value);');
  });
});

/** The document after its scripts ran, as the browser writes it. */
async function dom(page: string, hash = ''): Promise<string> {
  return (await look(folder.path, page, hash)).document;
}

/** The document after `script`, which the page's own policy would not let in. */
function driven(page: string, script: string): Promise<string> {
  const tools = `
    const heading = (title) => [...document.querySelectorAll('#table thead button')]
      .find((button) => button.textContent === title);
    const type = (text) => {
      const box = document.getElementById('filter');
      box.value = text;
      box.dispatchEvent(new Event('input'));
    };`;
  const open = page.replace(/<meta http-equiv="Content-Security-Policy"[^>]*>/, '');
  return dom(open.replace('</body>', `<script>${tools}${script}</script></body>`));
}

/** Names in the table that are not hidden, in order. */
function names(document: string): string[] {
  const rows = [...document.matchAll(/<tr class="[^"]*" data-outcome[^>]*>.*?<\/tr>/gs)].map(([row]) => row);
  const shown = rows.filter((row) => !/^<tr[^>]* hidden=""/.test(row));
  return shown.map((row) => /<a href="#s\d+">([^<]*)/.exec(row)?.[1] ?? '');
}

function openOnes(document: string): RegExpMatchArray | [] {
  return document.match(/<details class="submission[^>]* open=""/g) ?? [];
}
