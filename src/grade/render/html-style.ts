/** The page's style: light and dark, narrow and wide, on paper. */
export const STYLE = `
:root {
  --page: #fbfbfa; --card: #fff; --ink: #1c1d1f; --quiet: #5d6168; --rule: #dcdee2; --shade: #f1f2f4;
  --passed: #1a7f45; --failed: #b4540a; --crashed: #b3175d; --timed-out: #7a4bc2; --error: #c40f1c; --open: #2a63b8;
  --hot: #fff1c9; --hot-ink: #3a2a00; --add: #dcf5e3; --del: #fde3e1; --tint: 9%;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #141517; --card: #1b1c1f; --ink: #e6e7ea; --quiet: #a0a5ae; --rule: #34373d; --shade: #24262a;
    --passed: #55c886; --failed: #f0a05a; --crashed: #f57cae; --timed-out: #b99af0; --error: #ff6b70; --open: #82b1f5;
    --hot: #45390f; --hot-ink: #ffedb5; --add: #15351f; --del: #47201f; --tint: 13%;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0 auto; padding: 1.25rem clamp(.75rem, 2.5vw, 2.5rem) 4rem; max-width: 100rem; background: var(--page); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0 0 .8rem; }
h1 .quiet { font-size: 1rem; font-weight: 400; margin-left: .5rem; }
h2 { font-size: 1.05rem; display: inline; margin: 0; }
h3 { font-size: .8rem; letter-spacing: .05em; text-transform: uppercase; color: var(--quiet); margin: 1.6rem 0 .5rem; }
p { margin: .4rem 0; }
a { color: var(--open); }
code, pre { font-family: ui-monospace, 'DejaVu Sans Mono', monospace; font-size: .86em; }
pre { margin: .5rem 0; padding: .55rem .7rem; background: var(--shade); border-radius: 5px; overflow-x: auto; tab-size: 4; overflow-wrap: normal; }
:focus-visible { outline: 2px solid var(--open); outline-offset: 2px; }
.quiet { color: var(--quiet); }
.vh { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.alarm { background: var(--error); color: #fff; padding: .65rem .9rem; border-radius: 6px; margin: .5rem 0; }
.calm { color: var(--passed); }
@media (prefers-color-scheme: dark) { .alarm { background: #a3121c; } }

.passed { --c: var(--passed); } .failed { --c: var(--failed); } .crashed { --c: var(--crashed); } .timed-out { --c: var(--timed-out); }
.error { --c: var(--error); } .blocked { --c: var(--quiet); } .skipped { --c: var(--open); }
.chips { list-style: none; display: flex; flex-wrap: wrap; gap: .6rem; margin: .9rem 0 .6rem; padding: 0; }
.chip { font: inherit; color: var(--c); background: color-mix(in srgb, var(--c) var(--tint), var(--card)); border: 1px solid color-mix(in srgb, var(--c) 45%, var(--card));
  border-radius: 8px; padding: .35rem .9rem; }
.chip:enabled { cursor: pointer; }
.chip:enabled:hover { border-color: var(--c); }
.chip b { font-size: 1.5rem; line-height: 1.2; margin-right: .2rem; }
.chip[aria-pressed=true] { background: var(--c); color: var(--card); }
.share { display: flex; gap: 2px; height: 8px; border-radius: 4px; overflow: hidden; margin-bottom: .8rem; }
.share i { background: var(--c); }
.circumstances { color: var(--quiet); font-size: .9em; margin-bottom: 1.2rem; }
summary { cursor: pointer; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: .6rem 0; }
dt { color: var(--quiet); } dd { margin: 0; } dd ul { margin: 0; padding-left: 1.1rem; }

.controls { display: flex; flex-wrap: wrap; gap: .8rem; align-items: center; margin: 0 0 .6rem; }
.controls[hidden] { display: none; }
.controls input { font: inherit; width: 18rem; max-width: 60vw; padding: .3rem .55rem; margin-left: .3rem; color: inherit; background: var(--card); border: 1px solid var(--rule); border-radius: 6px; }
.controls button { font: inherit; padding: .3rem .8rem; color: inherit; background: var(--card); border: 1px solid var(--rule); border-radius: 6px; cursor: pointer; }
#table thead { position: sticky; top: 0; z-index: 1; background: var(--card); }
@media (max-width: 64rem) { .scroll { overflow-x: auto; } }
table { border-collapse: collapse; width: 100%; }
#table { background: var(--card); border: 1px solid var(--rule); margin-bottom: .2rem; }
#table > thead th { vertical-align: bottom; text-align: left; padding: .5rem .55rem; border-bottom: 1px solid var(--rule); font-size: .86em; }
thead button { all: unset; font-weight: 600; white-space: nowrap; }
thead button:enabled { cursor: pointer; }
thead button:focus-visible { outline: 2px solid var(--open); }
th[aria-sort=ascending] button::after { content: ' ▴'; } th[aria-sort=descending] button::after { content: ' ▾'; }
thead th.line { padding: .5rem 0; }
thead th.line button { display: block; margin: 0 auto; writing-mode: vertical-rl; rotate: 180deg; white-space: nowrap; font-weight: 400; color: var(--quiet); }
#table > tbody > tr { border-top: 1px solid var(--rule); }
#table > tbody > tr:hover { background: var(--shade); }
#table > tbody > tr > * { padding: .32rem .55rem; text-align: left; vertical-align: middle; font-weight: 400; }
#table > tbody > tr > :first-child { border-left: 4px solid var(--c); white-space: nowrap; }
#table > tbody > tr.passed > :first-child { border-left-color: transparent; }
#table tbody th { min-width: 9rem; max-width: 18rem; } #table tbody th a { font-weight: 600; text-decoration: none; } #table tbody th a:hover { text-decoration: underline; }
.marks { white-space: nowrap; font-variant-numeric: tabular-nums; }
meter { display: block; width: 4.6rem; height: 5px; border: 0; margin-top: 2px; background: var(--rule); border-radius: 3px; }
meter::-webkit-meter-inner-element { display: block; } meter::-webkit-meter-bar { background: var(--rule); border: 0; height: 5px; border-radius: 3px; }
meter::-webkit-meter-optimum-value { background: var(--quiet); border-radius: 3px; } meter::-moz-meter-bar { background: var(--quiet); }
#table > tbody > tr > td.line { width: 2.3rem; min-width: 2.1rem; padding: .2rem 0; text-align: center; color: var(--c); white-space: nowrap; }
td.line.skipped, td.line.blocked { color: var(--quiet) !important; } td.line.passed > * { opacity: .8; }
td.line small { display: block; line-height: 1; font-size: .7em; }
td.failed, td.crashed, td.timed-out, td.error { background: color-mix(in srgb, var(--c) 16%, transparent); font-weight: 700 !important; }
.reason { min-width: 16rem; font-size: .93em; }
.tag { display: inline-block; font-size: .82em; padding: 0 .45em; border: 1px solid var(--rule); border-radius: 4px; color: var(--quiet); background: var(--shade); }
.badge { display: inline-block; white-space: nowrap; font-size: .86em; font-weight: 600; color: var(--c); padding: .05em .55em; border-radius: 4px; background: color-mix(in srgb, var(--c) var(--tint), transparent); }
tr.error .badge, .submission.error > summary .badge { background: var(--error); color: #fff; }
@media (prefers-color-scheme: dark) { tr.error .badge, .submission.error > summary .badge { background: #a3121c; } }

.submission { background: var(--card); border: 1px solid var(--rule); border-left: 4px solid var(--c); border-radius: 6px; margin-top: .6rem; }
.submission[hidden] { display: none; }
.submission > summary { padding: .55rem .8rem; }
.submission[open] > summary { border-bottom: 1px solid var(--rule); }
article { padding: .3rem 1rem 1rem; scroll-margin-top: 3.5rem; }
.sum { font-variant-numeric: tabular-nums; font-weight: 600; white-space: nowrap; margin: 0 .4rem; }
.line-block { border-top: 1px solid var(--rule); }
.line-block > summary { padding: .4rem 0; }
.line-block > .body { padding: 0 0 .9rem 1.1rem; }
.line-block:not(.passed, .skipped, .blocked) > .body { border-left: 3px solid var(--c); margin-bottom: .7rem; padding-left: .9rem; }
.fact { font-weight: 600; font-size: 1.03em; }
.command { background: var(--shade); padding: .15rem .4rem; border-radius: 4px; user-select: all; }
.block { margin: .5rem 0 1rem; }
figure { margin: .6rem 0; } figcaption { font-size: .9em; color: var(--quiet); } figure pre { margin-top: .2rem; padding: .4rem 0; }
.row { display: block; padding: 0 .7rem; min-width: max-content; min-height: 1.3em; text-decoration: none; color: inherit; background: none; }
mark.row { background: var(--hot); color: var(--hot-ink); box-shadow: inset 4px 0 var(--failed); }
ins.row { background: var(--add); } del.row { background: var(--del); } .hunk { color: var(--open); } .row.quiet { color: var(--quiet); }
.ln { display: inline-block; width: 3.2em; padding-right: 1em; text-align: right; color: var(--quiet); user-select: none; }
.frames { padding-left: 1.6rem; } .frames li { margin: .2rem 0; }
.console { background: var(--shade); border-radius: 5px; padding: .4rem 0; overflow-x: auto; }
.console pre { margin: 0; padding: 0 .7rem; background: none; border-radius: 0; overflow: visible; min-width: max-content; }
.console .why { margin: .3rem 0 0; padding: .15rem .7rem; font-weight: 600; font-size: .9em; }
.console pre.hot { background: var(--hot); color: var(--hot-ink); box-shadow: inset 4px 0 var(--failed); padding: .25rem .7rem; margin-bottom: .3rem; }
.fold > summary { padding: .1rem .7rem; color: var(--quiet); font-size: .86em; }
.checks p { margin: 0; } .checks { font-size: .93em; margin: .6rem 0; } .checks th, .checks td { text-align: left; vertical-align: top; padding: .35rem .7rem .35rem 0; border-top: 1px solid var(--rule); font-weight: 400; }
.checks thead th { color: var(--quiet); font-size: .86em; border: 0; } .checks pre { max-width: 60rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.took { white-space: nowrap; font-variant-numeric: tabular-nums; }
.timeline { list-style: none; margin: .4rem 0; padding: 0; display: grid; gap: .25rem; }
.timeline li { display: grid; grid-template-columns: minmax(9rem, 19rem) 1fr 9.5rem; gap: .8rem; align-items: center; font-size: .93em; }
.track { height: .8rem; background: var(--shade); border-radius: 3px; overflow: hidden; } .track i { display: block; height: 100%; min-width: 2px; background: var(--open); border-radius: 3px; }
.back { margin-top: 1.4rem; }
@media (max-width: 46rem) {
  body { padding: .8rem .6rem 3rem; font-size: 14px; }
  h1 .quiet { display: block; margin: .2rem 0 0; }
  .chip b { font-size: 1.2rem; }
  .timeline li { grid-template-columns: 1fr auto; } .track { grid-column: 1 / -1; grid-row: 2; }
  #table .line { display: none; } #table .reason { min-width: 9rem; } #table tbody th { min-width: 6rem; max-width: 9rem; }
  meter { width: 3.4rem; }
  .facts { grid-template-columns: 1fr; } .facts dd { margin-bottom: .4rem; }
}
@media print {
  :root { --page: #fff; --card: #fff; --ink: #000; --quiet: #444; --rule: #bbb; --shade: #f4f4f4; }
  body { font-size: 10pt; max-width: none; padding: 0; }
  .controls, .back { display: none; } .scroll { overflow: visible; } #table thead { position: static; }
  .console pre { min-width: 0; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; } .row { min-width: 0; }
  details:not(.fold)::details-content { content-visibility: visible; }
  .submission { break-before: page; border-width: 0 0 0 4px; } tr, figure { break-inside: avoid; }
  .badge, .alarm, td.line, mark, .hot, ins, del, .share i, .track i { print-color-adjust: exact; }
}
`;
