import type { GradedCheck, GradedLine, GradedSubmission, Problem } from '../grade-report.js';
import { code, consoleExcerpt, crash, diff, pre, timeline } from './html-evidence.js';
import { badge } from './html-summary.js';
import { html, linkBelow, type Markup } from './html-template.js';
import { reasonOf } from './reason.js';
import { count, number, time } from './text.js';

/** Everything about one submission, folded under its name. */
export function submissionSection(submission: GradedSubmission, index: number, open: boolean): Markup {
  const { id, outcome, marks, lines } = submission;
  return html`<details class="submission ${outcome}" data-outcome="${outcome}" ${open && html`open`}>
<summary>${badge(outcome)} <h2>${id}</h2> <span class="sum">${number(marks.got)} / ${number(marks.max - marks.open)}</span> <span class="quiet">${reasonOf(submission)}</span></summary>
<article id="s${index}" aria-label="${id}">
${facts(submission)}
<h3>Lines</h3>
${lines.map(gradedLine)}
${part('Crashes', submission.crashes.map(crash))}
${part(
  'Consoles',
  submission.consoles.map((excerpt) => consoleExcerpt(excerpt, submission.folder)),
)}
${part('Problems with the hand-in', submission.problems.map(problem))}
${part('Changes to build files', submission.buildFiles.map(diff))}
${part('Compiler warnings', submission.warnings.length === 0 ? [] : [pre(submission.warnings)])}
${part('Changed or assumed by the intake', list(submission.changes))}
${part('Time line', submission.timeline.length === 0 ? [] : [timeline(submission.timeline), timings(submission)])}
<p class="back"><a href="#all">↑ all submissions</a></p>
</article></details>
`;
}

function part(title: string, body: readonly Markup[]): Markup {
  return body.length === 0 ? html`` : html`<h3>${title}</h3>${body}`;
}

function list(texts: readonly string[]): Markup[] {
  return texts.length === 0 ? [] : [html`<ul>${texts.map((text) => html`<li>${text}</li>`)}</ul>`];
}

function facts({ marks, input, digest, folder, sameAs }: GradedSubmission): Markup {
  const { late } = marks;
  const penalty =
    late &&
    (late.days === 0
      ? 'on time'
      : `${count(late.days, 'day')} late, times ${number(late.factor)}: ${number(late.got)}`);
  return html`<dl class="facts">
<dt>Marks</dt><dd><strong>${number(marks.got)}</strong> of ${number(marks.max - marks.open)} tested${marks.open > 0 && `; a person gives up to ${number(marks.open)} more, of ${number(marks.max)} in all`}</dd>
${late && html`<dt>Handed in</dt><dd>${late.handedIn} (${late.source}), deadline ${late.deadline}: <strong>${penalty ?? ''}</strong></dd>`}
<dt>Input</dt><dd><code>${input}</code>, sha256 <code>${digest}</code></dd>
${sameAs !== undefined && html`<dt>Identical</dt><dd>to <strong>${sameAs}</strong>, whose result this is</dd>`}
<dt>Evidence</dt><dd>${linkBelow(folder, folder)}</dd>
<dt>Run again</dt><dd><code class="command">./lab replay ${shellWord(folder)}</code></dd>
</dl>`;
}

function shellWord(text: string): string {
  return /^[\w./@%+:-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function gradedLine(line: GradedLine): Markup {
  const { title, outcome, marks, max, blame, fact, hint } = line;
  const told = outcome === 'skipped' ? `up to ${number(max)}` : `${number(marks)} of ${number(max)}`;
  const open = outcome !== 'passed' && outcome !== 'blocked';
  return html`<details class="line-block ${outcome}" ${open && html`open`}>
<summary>${badge(outcome)} <span class="title">${title}</span> <span class="sum">${told}</span>${
    blame !== undefined && html` <span class="tag">charged to the ${blame}</span>`
  }</summary>
<div class="body"><p class="quiet"><code>${line.id}</code></p>
${fact !== undefined && html`<p class="fact">${fact}</p>`}
${hint !== undefined && html`<p><strong>Likely cause:</strong> ${hint}</p>`}
${pre(line.evidence)}
${line.code.map(code)}
${line.checks.length > 0 && checks(line.checks)}
<p class="again">See it again: <code class="command">${line.reproduce}</code></p>
</div></details>`;
}

function checks(list: readonly GradedCheck[]): Markup {
  const rows = list.map(
    (
      check,
    ) => html`<tr><td>${badge(check.outcome)}</td><th scope="row">${check.title}<br><code class="quiet">${check.id}</code></th><td>${check.on}</td>
<td>${check.fact !== undefined && html`<p>${check.fact}${check.blame !== undefined && check.blame !== 'submission' && html` <span class="tag">blame: ${check.blame}</span>`}</p>`}${
      check.hint !== undefined && html`<p class="quiet">${check.hint}</p>`
    }${pre(check.evidence)}</td><td class="took">${time(check.duration)}</td></tr>`,
  );
  return html`<div class="scroll"><table class="checks"><thead><tr><th scope="col">Result</th><th scope="col">Check</th><th scope="col">On</th><th scope="col">Seen</th><th scope="col">Time</th></tr></thead><tbody>${rows}</tbody></table></div>`;
}

function problem({ fact, evidence, next }: Problem): Markup {
  return html`<div class="block"><p class="fact">${fact}</p>${pre(evidence)}<p><strong>What the student should do:</strong> ${next}</p></div>`;
}

function timings({ timings: found }: GradedSubmission): Markup {
  const texts = Object.entries(found).map(([stage, value]) => `${stage} ${time(value)}`);
  return html`<p class="quiet">${texts.join(' · ')}</p>`;
}
