import type { Outcome } from '../../lab/check.js';
import type { GradedLine, GradedSubmission, GradeReport, UsedSource } from '../grade-report.js';
import { finalMarks } from '../marks.js';
import { tally } from '../report.js';
import { html, type Markup } from './html-template.js';
import { alarmsOf, decisiveLine, reasonOf, WORDS } from './reason.js';
import { count, number, time } from './text.js';

/** Told apart by shape as well as by colour. */
const SYMBOLS: Readonly<Record<Outcome, string>> = {
  passed: '✓',
  failed: '✗',
  crashed: '✹',
  'timed-out': '◷',
  blocked: '–',
  skipped: '○',
  error: '!',
};

const GRAVITY: readonly Outcome[] = [
  'error',
  'crashed',
  'timed-out',
  'failed',
  'blocked',
  'skipped',
  'passed',
];

export function badge(outcome: Outcome): Markup {
  return html`<span class="badge ${outcome}"><span aria-hidden="true">${SYMBOLS[outcome]}</span> ${WORDS[outcome]}</span>`;
}

/** Gravest first, then fewest marks: who needs attention stands at the top. */
export function byGravity(submissions: readonly GradedSubmission[]): GradedSubmission[] {
  return [...submissions].sort(
    (a, b) =>
      GRAVITY.indexOf(a.outcome) - GRAVITY.indexOf(b.outcome) ||
      a.marks.got - b.marks.got ||
      a.id.localeCompare(b.id, 'en', { numeric: true }),
  );
}

/** Title, what makes the grading doubtful, and the number of submissions by outcome. */
export function pageHead(report: GradeReport): Markup {
  const { lab, submissions, canaries, started } = report;
  const healthy = canaries.length > 0 && canaries.every(({ outcome }) => outcome === 'passed');
  return html`<header>
<h1>${lab} <span class="quiet">${count(submissions.length, 'submission')}, graded ${started.slice(0, 16).replace('T', ' ')} UTC in ${time(report.duration)}</span></h1>
${alarmsOf(report).map(({ title, text }) => html`<p class="alarm"><strong><span aria-hidden="true">⚠</span> ${title}.</strong> ${text}</p>`)}
${healthy && html`<p class="calm"><span aria-hidden="true">✓</span> The reference solution passed at the ${canaries.map(({ when }) => when).join(' and at the ')}, in ${canaries.map(({ duration }) => time(duration)).join(' and ')}.</p>`}
${counts(submissions)}
${circumstances(report)}
</header>`;
}

function counts(submissions: readonly GradedSubmission[]): Markup {
  const tallied = tally(submissions);
  const chips = tallied.map(
    ([outcome, amount]) =>
      html`<li><button type="button" class="chip ${outcome}" data-outcome="${outcome}" aria-pressed="false" disabled><b>${amount}</b> <span aria-hidden="true">${SYMBOLS[outcome]}</span> ${WORDS[outcome]}</button></li>`,
  );
  const parts = tallied.map(
    ([outcome, amount]) => html`<i class="${outcome}" style="flex-grow:${amount}"></i>`,
  );
  return html`<ul class="chips" aria-label="Submissions by outcome">${chips}</ul><div class="share" aria-hidden="true">${parts}</div>`;
}

function circumstances({ host, sources }: GradeReport): Markup {
  const source = (name: string, { wanted, used, origin, digest }: UsedSource) =>
    html`<dt>${name}</dt><dd>${used}${wanted !== used && html` <strong>in place of ${wanted}</strong>`}, ${origin}, sha256 <code>${digest}</code></dd>`;
  return html`<details class="circumstances"><summary>Graded with QEMU ${sources.qemu.used}, Linux ${sources.linux.used}, ${sources.guest}; ${host.sandboxed ? 'in a sandbox' : 'without a sandbox'}</summary>
<dl>${source('QEMU', sources.qemu)}${source('Linux', sources.linux)}<dt>Guest</dt><dd>${sources.guest}</dd>
<dt>Host</dt><dd>${count(host.cpus, 'processor')} ${host.cpu}, Linux ${host.kernel}, Node ${host.node}, accelerator ${host.accelerator}</dd>
<dt>Confinement</dt><dd>${host.confinement.length === 0 ? 'none' : html`<ul>${host.confinement.map((text) => html`<li>${text}</li>`)}</ul>`}</dd></dl></details>`;
}

/** All submissions in one table. The controls appear where scripts run; without them it is in order of gravity. */
export function summary(submissions: readonly GradedSubmission[]): Markup {
  const ids = [...new Set(submissions.flatMap(({ lines }) => lines.map(({ id }) => id)))];
  return html`<section aria-labelledby="all"><h2 id="all" class="vh">All submissions</h2>
<p class="controls" hidden><label>Filter <input type="search" id="filter" placeholder="name, reason, …" autocomplete="off"></label>
<button type="button" id="expand">Open all</button> <span id="shown" role="status"></span></p>
<div class="scroll" tabindex="0" role="region" aria-labelledby="all"><table id="table">
<thead><tr>${heading('Outcome', 'ascending')}${heading('Submission')}${heading('Marks')}${ids.map((id) => heading(id, undefined, 'line'))}<th scope="col">First reason</th></tr></thead>
<tbody>
${submissions.map((submission, index) => row(submission, index, ids))}
</tbody></table></div></section>`;
}

function heading(title: string, sort?: 'ascending', kind?: 'line'): Markup {
  return html`<th scope="col" class="${kind ?? ''}" ${sort === undefined ? html`` : html`aria-sort="${sort}"`}><button type="button" disabled><span>${title}</span></button></th>`;
}

function row(submission: GradedSubmission, index: number, ids: readonly string[]): Markup {
  const { id, outcome, marks, lines } = submission;
  const final = finalMarks(marks);
  const judged = Math.max(marks.max - marks.open, 1);
  return html`<tr class="${outcome}" data-outcome="${outcome}" data-target="s${index}">
<td data-value="${GRAVITY.indexOf(outcome)}">${badge(outcome)}</td>
<th scope="row" data-value="${id}"><a href="#s${index}">${id}</a></th>
<td class="marks" data-value="${final}"><b>${number(final)}</b><span class="quiet"> / ${number(marks.max - marks.open)}</span><meter min="0" max="${judged}" value="${final}" aria-hidden="true"></meter></td>
${ids.map((name) =>
  lineCell(
    name,
    lines.find((line) => line.id === name),
  ),
)}
<td class="reason">${tags(submission)}${reasonOf(submission)}</td></tr>
`;
}

function lineCell(id: string, line: GradedLine | undefined): Markup {
  if (line === undefined) return html`<td class="line" data-value="-1"></td>`;
  const { outcome, marks, max } = line;
  const told = outcome === 'skipped' ? `up to ${number(max)}` : `${number(marks)} of ${number(max)}`;
  const partial = outcome !== 'passed' && marks > 0 && html`<small>${number(marks)}/${number(max)}</small>`;
  return html`<td class="line ${outcome}" data-value="${marks}" title="${id}: ${WORDS[outcome]}, ${told}"><span aria-hidden="true">${SYMBOLS[outcome]}${partial}</span><span class="vh">${WORDS[outcome]}, ${told}</span></td>`;
}

/** What a grader should look at besides the outcome. */
function tags(submission: GradedSubmission): Markup[] {
  const { marks, problems, buildFiles, sameAs, warnings } = submission;
  const days = marks.late?.days ?? 0;
  const blame = decisiveLine(submission)?.blame;
  return [
    ...(blame === undefined || blame === 'submission' ? [] : [`grade again: fault of the ${blame}`]),
    ...(days > 0 ? [`late ${count(days, 'day')}`] : []),
    ...(problems.length > 0 ? [count(problems.length, 'problem')] : []),
    ...(buildFiles.length > 0 ? ['build files changed'] : []),
    ...(warnings.length > 0 ? [count(warnings.length, 'warning')] : []),
    ...(sameAs === undefined ? [] : [`same as ${sameAs}`]),
  ].map((text) => html`<span class="tag">${text}</span> `);
}
