import type {
  BuildFileChange,
  CodeExcerpt,
  ConsoleExcerpt,
  DecodedCrash,
  TimelineSpan,
} from '../grade-report.js';
import { html, linkBelow, type Markup } from './html-template.js';
import { count, time, visibleLines } from './text.js';

const MOST_IN_LINE = 1000;
const MOST_LINES = 500;
const MOST_OF_CONSOLE = 5000;
/** Lines of a console shown around what is marked, and at the end when nothing is. */
const CONTEXT = 3;
const LAST = 12;

/** Lines of text as they came. */
export function pre(texts: readonly string[]): Markup {
  if (texts.length === 0) return html``;
  return html`<pre>${visibleLines(texts, MOST_IN_LINE, MOST_LINES).join('\n')}</pre>`;
}

/** The student's code with line numbers; the lines meant are marked. */
export function code({ path, from, lines, marked }: CodeExcerpt): Markup {
  const rows = lines.map((line, index) => {
    const at = from + index;
    const text = html`<span class="ln">${at}</span>${visibleLines([line], MOST_IN_LINE, MOST_LINES).join(' ')}`;
    return marked.includes(at)
      ? html`<mark class="row">${text}</mark>`
      : html`<span class="row">${text}</span>`;
  });
  return html`<figure class="code"><figcaption><code>${path}</code>${
    marked.length > 0 && ` line ${marked.join(', ')}`
  }</figcaption><pre>${rows}</pre></figure>`;
}

/** A unified diff in colours; signs at the beginning of each line stay. */
export function diff({ path, diff: text }: BuildFileChange): Markup {
  const rows = visibleLines([text], MOST_IN_LINE, MOST_LINES).map((line) => {
    if (/^(?:\+\+\+|---) /.test(line)) return html`<span class="row quiet">${line}</span>`;
    if (line.startsWith('+')) return html`<ins class="row">${line}</ins>`;
    if (line.startsWith('-')) return html`<del class="row">${line}</del>`;
    if (line.startsWith('@@')) return html`<span class="row hunk">${line}</span>`;
    return html`<span class="row">${line}</span>`;
  });
  return html`<figure class="code"><figcaption><code>${path}</code></figcaption><pre>${rows}</pre></figure>`;
}

/** A kernel report or the death of a QEMU, with the places of its frames and the student's code. */
export function crash({ on, kind, title, lines, frames }: DecodedCrash): Markup {
  const steps = frames.map(
    (frame) =>
      html`<li><code>${frame.symbol}</code>${
        frame.place !== undefined &&
        html` <span class="quiet">at</span> <strong><code>${frame.place}</code></strong>`
      }${frame.code !== undefined && code(frame.code)}</li>`,
  );
  return html`<div class="block">
<p><strong>${kind}</strong> on ${on}: <code>${title}</code></p>
${steps.length > 0 && html`<ol class="frames">${steps}</ol>`}
<details><summary>As the console has it (${count(lines.length, 'line')})</summary>${pre(lines)}</details>
</div>`;
}

interface Stretch {
  readonly from: number;
  readonly to: number;
  readonly kind: 'marked' | 'near' | 'folded';
  readonly why?: string;
}

/** A console: what is marked stands open with a few lines around it, the rest is folded. */
export function consoleExcerpt(excerpt: ConsoleExcerpt, folder: string): Markup {
  const parts = stretches(excerpt).map(({ from, to, kind, why }) => {
    const text = visibleLines(excerpt.lines.slice(from, to), MOST_IN_LINE, MOST_OF_CONSOLE).join('\n');
    if (kind === 'marked') {
      return html`<p class="why"><span aria-hidden="true">▸</span> ${why ?? ''}</p><pre class="hot">${text}</pre>`;
    }
    if (kind === 'near') return html`<pre>${text}</pre>`;
    return html`<details class="fold"><summary>${count(to - from, 'more line')}</summary><pre>${text}</pre></details>`;
  });
  return html`<div class="block"><p><strong>${excerpt.on}</strong>, whole log: ${linkBelow(excerpt.log, folder, excerpt.log)}</p>
<div class="console">${parts}</div></div>`;
}

/** Covers all lines once, in order. */
function stretches({ lines, marked }: ConsoleExcerpt): Stretch[] {
  const all: Stretch[] = [];
  let done = 0;
  const fill = (until: number, before: boolean, after: boolean) => {
    const near = { first: after ? CONTEXT : 0, last: before ? CONTEXT : LAST };
    const a = Math.min(until, done + near.first);
    const b = Math.max(a, until - near.last);
    all.push(
      { from: done, to: a, kind: 'near' },
      { from: a, to: b, kind: 'folded' },
      { from: b, to: until, kind: 'near' },
    );
    done = until;
  };
  for (const { from, to, why } of [...marked].sort((a, b) => a.from - b.from)) {
    const start = Math.max(done, from);
    const end = Math.min(lines.length, to);
    if (start >= end) continue;
    fill(start, true, done > 0);
    all.push({ from: start, to: end, kind: 'marked', why });
    done = end;
  }
  fill(lines.length, false, done > 0);
  return all.filter(({ from, to }) => from < to);
}

/** When each stage ran: bars on a common scale, with their times as text. */
export function timeline(spans: readonly TimelineSpan[]): Markup {
  const total = Math.max(1, ...spans.map(({ end }) => end));
  const share = (value: number) => ((100 * Math.min(Math.max(value, 0), total)) / total).toFixed(2);
  const rows = spans.map(({ title, start, end }) => {
    const place = `margin-left:${share(start)}%;width:${share(end - Math.max(start, 0))}%`;
    return html`<li><span class="stage">${title}</span><span class="track" aria-hidden="true"><i style="${place}"></i></span><span class="took">${time(end - start)}<span class="quiet"> from ${time(start)}</span></span></li>`;
  });
  return html`<ol class="timeline">${rows}</ol>`;
}
