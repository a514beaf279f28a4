/** The page's only script: sorting, filtering, opening. The page is complete without it. */
export const SCRIPT = `'use strict';
(() => {
  const table = document.getElementById('table');
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const all = (query) => [...document.querySelectorAll(query)];
  const blockOf = (row) => document.getElementById(row.dataset.target).closest('details');
  const filter = document.getElementById('filter');
  const chips = all('.chip');

  function apply() {
    const words = filter.value.toLowerCase().split(/\\s+/).filter(Boolean);
    const chosen = chips.filter((chip) => chip.getAttribute('aria-pressed') === 'true');
    const outcomes = chosen.map((chip) => chip.dataset.outcome);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const fits = words.every((word) => text.includes(word)) &&
        (outcomes.length === 0 || outcomes.includes(row.dataset.outcome));
      row.hidden = !fits;
      blockOf(row).hidden = !fits;
      if (fits) shown++;
    }
    const note = shown === rows.length ? '' : shown + ' of ' + rows.length + ' shown';
    document.getElementById('shown').textContent = note;
  }

  function sort(heading) {
    const column = heading.cellIndex;
    const down = heading.getAttribute('aria-sort') === 'ascending';
    for (const other of table.tHead.rows[0].cells) other.removeAttribute('aria-sort');
    heading.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const value = (row) => row.cells[column].dataset.value;
    const compare = new Intl.Collator(undefined, { numeric: true }).compare;
    const numbers = rows.every((row) => value(row) !== '' && Number.isFinite(Number(value(row))));
    rows.sort((a, b) => numbers ? value(a) - value(b) : compare(value(a), value(b)));
    if (down) rows.reverse();
    body.append(...rows);
  }

  function reveal() {
    const target = document.getElementById(location.hash.slice(1));
    const block = target && target.closest('details');
    if (!block) return;
    block.open = true;
    target.scrollIntoView();
  }

  for (const button of table.querySelectorAll('thead button')) {
    button.disabled = false;
    button.addEventListener('click', () => sort(button.closest('th')));
  }
  for (const chip of chips) {
    chip.disabled = false;
    chip.addEventListener('click', () => {
      chip.setAttribute('aria-pressed', String(chip.getAttribute('aria-pressed') !== 'true'));
      apply();
    });
  }
  filter.addEventListener('input', apply);
  const expand = document.getElementById('expand');
  expand.addEventListener('click', () => {
    const open = expand.textContent === 'Open all';
    for (const row of rows) if (!row.hidden) blockOf(row).open = open;
    expand.textContent = open ? 'Close all' : 'Open all';
  });
  let closed = [];
  addEventListener('beforeprint', () => {
    closed = all('details:not([open]):not(.fold)');
    for (const block of closed) block.open = true;
  });
  addEventListener('afterprint', () => { for (const block of closed) block.open = false; });
  addEventListener('hashchange', reveal);
  document.querySelector('.controls').hidden = false;
  reveal();
})();
`;
