import { type KernelLine, parseKernelLine } from './kernel-line.js';
import {
  type Draft,
  extend,
  joins,
  type KernelReport,
  newDraft,
  type Prelude,
  prepend,
  supersede,
  take,
  toReport,
} from './kernel-report.js';
import { bareTrace, type Head, matchHead, type TroubleKind } from './kernel-trouble.js';

/** Finds all kernel trouble in console text or `dmesg` output. */
export function findTrouble(text: string | readonly string[]): KernelReport[] {
  const log = new KernelLog();
  for (const line of typeof text === 'string' ? text.split(/\r?\n/) : text) log.push(line);
  return log.reports();
}

/** Further reports are dropped: the first ones tell what happened. */
const MOST_REPORTS = 200;
const MOST_CONTEXTS = 16;
const MOST_PRELUDE = 4;

/** Trouble that has begun; `report()` gives what is known of it by now. */
export interface Trouble {
  readonly kind: TroubleKind;
  readonly headLine: number;
  readonly complete: boolean;
  report(): KernelReport;
}

/** Recognises trouble line by line, in bounded memory. Never throws, whatever the lines are. */
export class KernelLog {
  readonly #drafts: Draft[] = [];
  /** By printk caller, so that reports of two CPUs that print at once stay apart. */
  readonly #open = new Map<string, Draft>();
  readonly #preludes = new Map<string, Prelude>();
  #count = 0;

  /** `evidence` stands in the report instead of `line`: the raw form of a line that was cleaned for matching. */
  push(line: string, evidence = line): void {
    const index = this.#count;
    this.#count += 1;
    const parsed = parseKernelLine(line);
    const draft = this.#open.get(parsed.caller);
    if (draft?.stamped && !parsed.stamped) return; // a program wrote between the kernel's lines
    const head = matchHead(parsed.text);
    if (head !== undefined) this.#onHead(head, parsed, index, evidence);
    else if (parsed.text.startsWith('Linux version ')) this.#restart();
    else if (draft === undefined || !this.#continue(draft, parsed, index, evidence)) {
      this.#onOther(parsed, index, evidence);
    }
  }

  /** What was found so far, in order of its heads, from line `from` on. Unfinished reports are not complete. */
  reports(from = 0): KernelReport[] {
    return this.#drafts.filter(({ headLine }) => headLine >= from).map(toReport);
  }

  /** The first trouble of these kinds whose head is at line `from` or later. */
  first(kinds: readonly TroubleKind[], from: number): Trouble | undefined {
    const draft = this.#drafts.find(({ head, headLine }) => headLine >= from && kinds.includes(head.kind));
    if (draft === undefined) return undefined;
    const { head, headLine, ended } = draft;
    return { kind: head.kind, headLine, complete: ended, report: () => toReport(draft) };
  }

  #onHead(head: Head, parsed: KernelLine, index: number, evidence: string): void {
    const draft = this.#open.get(parsed.caller);
    if (draft === undefined || !joins(head, draft)) {
      this.#begin(head, parsed, index, evidence);
      return;
    }
    const prelude = this.#takePrelude(parsed.caller);
    for (const [i, line] of (prelude?.lines ?? []).entries())
      take(draft, prelude?.texts[i] ?? '', index, line);
    draft.heads.add(head);
    take(draft, parsed.text, index, evidence);
    this.#closeIfEnded(draft, parsed.caller);
  }

  #begin(head: Head, parsed: KernelLine, index: number, evidence: string): void {
    const prelude = this.#takePrelude(parsed.caller);
    const before = this.#open.get(parsed.caller);
    if (before !== undefined) supersede(before);
    this.#open.delete(parsed.caller);
    if (this.#drafts.length >= MOST_REPORTS) return;
    const draft = newDraft(head, parsed, index);
    if (prelude !== undefined && fits(prelude, head)) prepend(draft, prelude);
    take(draft, parsed.text, index, evidence);
    this.#drafts.push(draft);
    if (!draft.ended) setBounded(this.#open, parsed.caller, draft);
  }

  /** True when the line went into the open report of its context. */
  #continue(draft: Draft, parsed: KernelLine, index: number, evidence: string): boolean {
    const cutHere = CUT_HERE.test(parsed.text);
    const ruler = RULER.test(parsed.text) && draft.head.ending !== 'ruler';
    if (cutHere || ruler) return false;
    const outcome = extend(draft, parsed.text, index, evidence);
    if (outcome === 'over') this.#open.delete(parsed.caller);
    else this.#closeIfEnded(draft, parsed.caller);
    return outcome === 'taken';
  }

  /** After `---[ end trace` the registers may come once more, so such a report stays open. */
  #closeIfEnded(draft: Draft, caller: string): void {
    const more = draft.head.ending === 'marker' || draft.head.ending === 'trace';
    if (draft.ended && !more) this.#open.delete(caller);
  }

  /** The machine has booted again: nothing from before goes on. */
  #restart(): void {
    this.#open.clear();
    this.#preludes.clear();
  }

  #onOther(parsed: KernelLine, index: number, evidence: string): void {
    const { caller, text } = parsed;
    if (bareTrace.pattern.test(text)) this.#begin(bareTrace, parsed, index, evidence);
    else if (CUT_HERE.test(text) || RULER.test(text) || CONTEXT.test(text)) {
      setBounded(this.#preludes, caller, { firstLine: index, lines: [evidence], texts: [text] });
    } else {
      const prelude = this.#preludes.get(caller);
      prelude?.lines.push(evidence);
      prelude?.texts.push(text);
      if (prelude !== undefined && prelude.lines.length > MOST_PRELUDE) this.#preludes.delete(caller);
    }
  }

  #takePrelude(caller: string): Prelude | undefined {
    const prelude = this.#preludes.get(caller);
    this.#preludes.delete(caller);
    return prelude;
  }
}

const CUT_HERE = /^-{8,}\[ cut here \]-{8,}$/;
const RULER = /^={20,}$/;
/** What `dump_stack` prints before its trace. */
const CONTEXT = /^CPU: \d+ (?:UID: \d+ )?PID: \d+ Comm: /;

function fits({ texts }: Prelude, head: Head): boolean {
  const first = texts[0] ?? '';
  if (head === bareTrace) return CONTEXT.test(first);
  return CUT_HERE.test(first) || (RULER.test(first) && texts.length === 1);
}

/** Contexts come and go; the one that was opened first is given up when there are too many. */
function setBounded<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  const oldest = map.size > MOST_CONTEXTS ? map.keys().next().value : undefined;
  if (oldest !== undefined) map.delete(oldest);
}
