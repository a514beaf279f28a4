import { createHash } from 'node:crypto';
import type { GradeReport } from '../grade-report.js';
import { SCRIPT } from './html-script.js';
import { STYLE } from './html-style.js';
import { submissionSection } from './html-submission.js';
import { byGravity, pageHead, summary } from './html-summary.js';
import { constant, html } from './html-template.js';

/**
 * One self-contained page for the grader: no network, no other files. Submissions and their guests wrote much of what
 * stands in it, so all text is escaped, and the content security policy lets nothing run but the page's own script.
 */
export function toHtml(report: GradeReport): string {
  const submissions = byGravity(report.submissions);
  const alone = submissions.length === 1;
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>${report.lab}: grading</title>
<style>${constant(STYLE)}</style>
</head>
<body>
${pageHead(report)}
<main>
${summary(submissions)}
${submissions.map((submission, index) => submissionSection(submission, index, alone))}
</main>
<script>${constant(SCRIPT)}</script>
</body>
</html>
`;
  return page.text;
}

const POLICY = [
  "default-src 'none'",
  "style-src 'unsafe-inline'",
  `script-src 'sha256-${createHash('sha256').update(SCRIPT).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');
