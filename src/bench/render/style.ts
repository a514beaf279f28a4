/** The page's style: light and dark, narrow and wide, on paper. */
export const STYLE = `
:root {
  --page: #fbfbfa; --card: #fff; --ink: #1c1d1f; --quiet: #5d6168; --rule: #dcdee2; --shade: #f1f2f4; --grid: #e6e8eb;
  --accent: #1f66b5; --own: #b4540a; --good: #1a7f45; --bad: #c40f1c; --known: #7a4bc2;
  --s0: #1f66b5; --s1: #c2560c; --s2: #16855b; --s3: #a8408c; --s4: #8a6d00; --s5: #5a5f68; --s6: #7a4bc2; --s7: #0f7f96;
  --call: #9ecbf2; --driver: #3f83c9; --wait: #d9a3c9; --copy: #6aa7df; --exit: #f2b455; --device: #4fb286; --unknown: #c3c7cd;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #141517; --card: #1b1c1f; --ink: #e6e7ea; --quiet: #a0a5ae; --rule: #34373d; --shade: #24262a; --grid: #2c2f34;
    --accent: #6fb0f5; --own: #f0a05a; --good: #55c886; --bad: #ff6b70; --known: #b99af0;
    --s0: #6fb0f5; --s1: #f0934c; --s2: #4fc497; --s3: #e58bcb; --s4: #d9b93c; --s5: #b3b8c1; --s6: #b99af0; --s7: #4fc3d9;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.25rem clamp(.75rem, 2.5vw, 2.5rem) 4rem; max-width: 78rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .4rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .3rem; }
p { margin: .4rem 0; max-width: 52rem; }
code { font-family: ui-monospace, 'DejaVu Sans Mono', monospace; font-size: .88em; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.quiet { color: var(--quiet); }
.noise { border: 1px solid var(--own); border-left-width: 5px; background: color-mix(in srgb, var(--own) 9%, var(--card)); border-radius: 6px; padding: .5rem .9rem; margin: .9rem 0; max-width: none; }
.noise ul { margin: .2rem 0; padding-left: 1.2rem; }
.alarm { background: var(--bad); color: #fff; padding: .6rem .9rem; border-radius: 6px; max-width: none; }
@media (prefers-color-scheme: dark) { .alarm { background: #a3121c; } }
.cards { list-style: none; display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .8rem; margin: 1rem 0 0; padding: 0; }
.cards li { background: var(--card); border: 1px solid var(--rule); border-top: 3px solid var(--c); border-radius: 6px; padding: .6rem .9rem; }
.cards b { display: block; font-size: 1.7rem; line-height: 1.25; color: var(--c); font-variant-numeric: tabular-nums; }
.cards small { display: block; color: var(--quiet); }
.good { --c: var(--good); color: var(--good); } .bad { --c: var(--bad); color: var(--bad); font-weight: 600; } .known { color: var(--known); }
.cards .good, .cards .bad { color: inherit; font-weight: inherit; }

.plot { margin: .8rem 0 0; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 1rem; }
.plot > svg { display: block; width: 100%; height: auto; max-width: 960px; margin: 0 auto; font: 13px system-ui, sans-serif; }
.plot > svg.narrow { max-width: 480px; }
@media (min-width: 48.01rem) { .plot > svg.narrow { display: none; } }
@media (max-width: 48rem) { .plot > svg.wide { display: none; } }
svg text { fill: var(--ink); paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }
svg .axis { fill: var(--quiet); font-size: 12px; }
svg .strong { font-weight: 600; }
svg .grid { stroke: var(--grid); }
svg .yardstick { stroke: var(--own); stroke-dasharray: 4 4; }
svg .stem { stroke: color-mix(in srgb, var(--accent) 32%, var(--card)); stroke-width: 5; stroke-linecap: round; }
svg .extremes { stroke: var(--accent); stroke-width: 1; }
svg .quartiles { stroke: var(--accent); stroke-width: 2; }
svg .cap { stroke: var(--accent); stroke-width: 1.5; }
svg .median { fill: var(--accent); stroke: var(--card); stroke-width: 1.5; }
svg .own .stem { stroke: color-mix(in srgb, var(--own) 32%, var(--card)); }
svg .own .extremes, svg .own .quartiles, svg .own .cap { stroke: var(--own); } svg .own .median { fill: var(--own); }
svg .s0 { --s: var(--s0); } svg .s1 { --s: var(--s1); } svg .s2 { --s: var(--s2); } svg .s3 { --s: var(--s3); }
svg .s4 { --s: var(--s4); } svg .s5 { --s: var(--s5); } svg .s6 { --s: var(--s6); } svg .s7 { --s: var(--s7); }
svg .series { fill: none; stroke: var(--s); stroke-width: 2; stroke-linejoin: round; }
svg .cap[class*=' s'] { stroke: var(--s); stroke-width: 3; opacity: .5; }
svg .sign { fill: var(--s); stroke: var(--card); stroke-width: 1; }
svg .leader { fill: none; stroke: var(--s); opacity: .6; }
svg .name { fill: var(--s); font-weight: 600; }
.call { --p: var(--call); } .driver { --p: var(--driver); } .wait { --p: var(--wait); } .copy { --p: var(--copy); } .exit { --p: var(--exit); } .device { --p: var(--device); } .unknown { --p: var(--unknown); }
svg .part { fill: var(--p); }
svg .on { fill: #15181c; stroke: none; font-size: 11.5px; }
.swatch { display: inline-block; width: .85em; height: .85em; border-radius: 2px; background: var(--p); margin-right: .45em; vertical-align: -.05em; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .6rem 0 0; padding: 0; }
.legend svg { width: 26px; height: 12px; margin-right: .35em; vertical-align: -.05em; }
@media (min-width: 48.01rem) { .legend.only-narrow { display: none; } }
.terms { display: grid; gap: .3rem 1.6rem; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); margin: .9rem 0 0; font-size: .93em; }
.terms dt { font-weight: 600; } .terms dd { margin: 0; color: var(--quiet); }
.plot details { margin-top: .9rem; } summary { cursor: pointer; }

.scroll { overflow-x: auto; margin-top: .5rem; }
table { border-collapse: collapse; width: 100%; font-size: .9em; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--quiet); padding-bottom: .3rem; }
th, td { text-align: right; vertical-align: top; padding: .3rem .6rem; border-top: 1px solid var(--rule); white-space: nowrap; }
thead th { border-top: 0; color: var(--quiet); font-weight: 500; vertical-align: bottom; white-space: normal; min-width: 5rem; }
th:first-child { text-align: left; padding-left: 0; font-weight: 600; }
th .quiet { display: block; font-weight: 400; white-space: normal; min-width: 13rem; font-size: .93em; }
th.words { text-align: left; }
td.words { text-align: left; white-space: normal; min-width: 15rem; }
.tag { font-size: .82em; padding: 0 .4em; border: 1px solid currentColor; border-radius: 4px; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; margin: .6rem 0; }
.facts dt { color: var(--quiet); } .facts dd { margin: 0; }
@media (max-width: 48rem) {
  body { padding: .8rem .6rem 3rem; font-size: 14px; }
  .plot { padding: .7rem .5rem; }
  .cards { grid-template-columns: 1fr 1fr; gap: .5rem; } .cards b { font-size: 1.35rem; } .cards li { padding: .5rem .6rem; }
  .terms { grid-template-columns: 1fr; }
  .facts { grid-template-columns: 1fr; } .facts dd { margin-bottom: .4rem; }
}
@media print {
  :root { --page: #fff; --card: #fff; --ink: #000; --quiet: #444; --rule: #bbb; --shade: #f4f4f4; --grid: #ddd; --accent: #1f66b5; --own: #b4540a; }
  body { font-size: 9.5pt; max-width: none; padding: 0; }
  .plot { border: 0; padding: 0; } figure > svg, .cards li, tr, .terms div { break-inside: avoid; } h2 { break-after: avoid; }
  .scroll { overflow: visible; } th, td { white-space: normal; padding: .2rem .35rem; } thead th { min-width: 0; } th .quiet, th.words { text-align: left; }
td.words { min-width: 0; }
  details::details-content { content-visibility: visible; }
  svg, .swatch, .noise, .alarm { print-color-adjust: exact; }
}
`;
