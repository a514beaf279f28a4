import { type CodePlace, findPlace, type KernelLine, parseFrame } from './kernel-line.js';
import { crashKinds, type Head, type TroubleKind } from './kernel-trouble.js';

/** One piece of kernel trouble. Line numbers count from 0 in what was scanned. */
export interface KernelReport {
  readonly kind: TroubleKind;
  /** What the kernel called it, without time and caller. */
  readonly title: string;
  readonly firstLine: number;
  readonly lastLine: number;
  /** The report's own lines as they came, at most 400; lines of others in between are left out. */
  readonly lines: readonly string[];
  /** Where it happened: the instruction pointer, or the place that a sanitizer names. */
  readonly rip?: CodePlace;
  /** The first call trace, innermost first; the unwinder's guesses only when there is nothing better. */
  readonly callTrace: readonly CodePlace[];
  /** Taint letters, e.g. `GWO`; empty for a kernel that was not tainted. */
  readonly tainted?: string;
  /** Its end was seen; false for a report that was cut off. */
  readonly complete: boolean;
  /** Equal for the same trouble in another run: kind and innermost functions, no addresses. */
  readonly fingerprint: string;
}

/** The first report after which a machine is of no further use. */
export function crashReport(reports: readonly KernelReport[]): KernelReport | undefined {
  return reports.find(({ kind }) => crashKinds.includes(kind));
}

/** A report while its lines still come. */
export interface Draft {
  readonly head: Head;
  readonly heads: Set<Head>;
  readonly headLine: number;
  readonly stamped: boolean;
  title: string;
  message: string | undefined;
  firstLine: number;
  lastLine: number;
  readonly lines: string[];
  trace: 'none' | 'open' | 'over';
  /** The trace has tags, so its end will be seen. */
  tagged: boolean;
  readonly sure: CodePlace[];
  readonly guesses: CodePlace[];
  rip: CodePlace | undefined;
  tainted: string | undefined;
  strangers: number;
  ended: boolean;
}

/** Lines just before a head that belong to its report: a ruler, `[ cut here ]` and the message of a WARN. */
export interface Prelude {
  readonly firstLine: number;
  readonly lines: string[];
  readonly texts: string[];
}

const MOST_LINES = 400;
const MOST_FRAMES = 100;
/** Lines of others that may stand between two lines of one report. */
const MOST_STRANGERS = 8;

export function newDraft(head: Head, { text, stamped }: KernelLine, index: number): Draft {
  return {
    head,
    heads: new Set([head]),
    headLine: index,
    stamped,
    title: text.trim(),
    message: undefined,
    firstLine: index,
    lastLine: index,
    lines: [],
    trace: 'none',
    tagged: false,
    sure: [],
    guesses: [],
    rip: undefined,
    tainted: undefined,
    strangers: 0,
    ended: head.ending === 'line',
  };
}

/** Whether this head is the second half of the open report: `Oops:` after `BUG:`, the victim after the OOM killer. */
export function joins(head: Head, draft: Draft): boolean {
  if (draft.head.ending === 'kill' && head.kind === 'out-of-memory') return head.ending === 'line';
  const expected = draft.head.ending === 'marker' && draft.trace === 'none' && !draft.ended;
  return head.second === true && expected && !draft.heads.has(head);
}

/** Puts lines that came before the head, and belong to it, in front. */
export function prepend(draft: Draft, { firstLine, lines, texts }: Prelude): void {
  draft.lines.unshift(...lines);
  draft.firstLine = firstLine;
  for (const text of texts) learn(draft, text);
  if (draft.head.kind === 'stack-trace') draft.title = texts[0] ?? draft.title;
}

/** Another report begins in the same context: a trace without tags has no other end. */
export function supersede(draft: Draft): void {
  if (draft.head.ending === 'trace' && draft.trace !== 'none') draft.ended = true;
}

/** `over`: the line is not of this report, and nothing will be; `stranger`: not of it, but more may come. */
export function extend(
  draft: Draft,
  text: string,
  index: number,
  line: string,
): 'taken' | 'stranger' | 'over' {
  if (draft.ended && !(draft.head.ending === 'trace' ? PART : EPILOGUE).test(text)) return 'over';
  if (draft.head.free && draft.lines.length >= MOST_LINES) return 'over';
  const traceEnds = draft.head.ending === 'trace' && isTraceOver(draft, text);
  if (PART.test(text)) {
    if (traceEnds && !draft.head.free && RESTART.test(text)) return 'over';
  } else if (traceEnds) {
    draft.ended = true;
    return 'over';
  } else if (!draft.head.free && !isMessage(draft, index)) {
    draft.strangers += 1;
    return draft.strangers > MOST_STRANGERS ? 'over' : 'stranger';
  }
  take(draft, text, index, line);
  return 'taken';
}

/** Adds a line that belongs to the report and reads what it tells. */
export function take(draft: Draft, text: string, index: number, line: string): void {
  if (draft.lines.length < MOST_LINES) draft.lines.push(line);
  draft.lastLine = index;
  draft.strangers = 0;
  learn(draft, text);
  readPlaces(draft, text);
  if (isEnd(draft, text)) draft.ended = true;
}

export function toReport(draft: Draft): KernelReport {
  const { head, firstLine, lastLine, rip, tainted } = draft;
  const callTrace = draft.sure.length > 0 ? [...draft.sure] : [...draft.guesses];
  const title = titleOf(draft);
  return {
    kind: head.kind,
    title,
    firstLine,
    lastLine,
    lines: [...draft.lines],
    ...(rip !== undefined && { rip }),
    callTrace,
    ...(tainted !== undefined && { tainted }),
    complete: draft.ended,
    fingerprint: fingerprintOf(head.kind, title, rip, callTrace),
  };
}

/** A line or two after the head say more: the message of a WARN, the address of a fault. */
function isMessage(draft: Draft, index: number): boolean {
  return draft.trace === 'none' && index - draft.headLine <= 2;
}

/** Between tags, lines of others may stand in a trace; without tags, the first of them ends it. */
function isTraceOver({ trace, tagged }: Draft, text: string): boolean {
  return trace === 'over' || (trace === 'open' && !tagged && !TRACE_PART.test(text));
}

function learn(draft: Draft, text: string): void {
  if (draft.message === undefined && text.trim() !== draft.title && !PART.test(text) && !DRAWN.test(text)) {
    draft.message = text.trim();
  }
  const taint = TAINT.exec(text);
  if (taint !== null) draft.tainted ??= (taint[1] ?? '').replaceAll(' ', '');
}

function readPlaces(draft: Draft, text: string): void {
  if (draft.rip === undefined && PLACE_LINE.test(text)) draft.rip = findPlace(text) ?? rawPlace(text);
  if (TRACE_START.test(text)) {
    if (draft.trace === 'none') draft.trace = 'open';
    return;
  }
  if (draft.trace === 'none') return;
  if (TRACE_PART.test(text)) {
    if (draft.trace === 'open') readFrame(draft, text);
    if (TAG.test(text)) draft.tagged = true;
    if (!TASK_END.test(text)) return; // the task's stack is the last one: interrupts come before it
    draft.trace = 'over';
    if (draft.head.ending === 'trace') draft.ended = true;
  } else draft.trace = 'over';
}

function readFrame(draft: Draft, text: string): void {
  const frame = parseFrame(text);
  if (frame === undefined) return;
  const frames = frame.sure ? draft.sure : draft.guesses;
  if (frames.length < MOST_FRAMES) frames.push(frame.place);
}

/** A jump through a bad pointer: the address has no symbol. */
function rawPlace(text: string): CodePlace | undefined {
  const address = /^RIP: 0010:(0x[0-9a-f]{1,16})/.exec(text)?.[1];
  return address === undefined ? undefined : { symbol: address, offset: 0, size: 0 };
}

function isEnd({ head }: Draft, text: string): boolean {
  if (head.ending === 'panic') return /^---\[ end Kernel panic|^Rebooting in \d+ seconds/.test(text);
  if (head.ending === 'kill') return /^(?:Memory cgroup out|Out) of memory/.test(text);
  const marker = /^---\[ end trace/.test(text);
  return head.ending === 'marker' ? marker : head.ending === 'ruler' && (marker || isClosingRuler(text));
}

function isClosingRuler(text: string): boolean {
  return /^={20,}$/.test(text);
}

function titleOf({ head, title, message }: Draft): string {
  const shown = head.kind === 'warning' && message !== undefined ? `${title}: ${message}` : title;
  return shown.slice(0, 400);
}

const DEPTH = 4;

function fingerprintOf(
  kind: TroubleKind,
  title: string,
  rip: CodePlace | undefined,
  trace: readonly CodePlace[],
): string {
  const inTrace = trace.filter(({ symbol }) => !ENTRY.test(symbol));
  const symbols = [...(rip === undefined ? [] : [rip]), ...inTrace].map(({ symbol }) =>
    symbol.replace(CLONE, ''),
  );
  const telling = symbols.filter((symbol) => !MACHINERY.test(symbol));
  const distinct = telling.filter((symbol, i) => symbol !== telling[i - 1]).slice(0, DEPTH);
  if (distinct.length > 0) return `${kind}:${distinct.join('<')}`;
  return `${kind}:${title.replace(/\b(?:0x)?[0-9a-f]*\d[0-9a-f]*\b/gi, '#').slice(0, 100)}`;
}

/** Suffixes that compilers give to clones of a function. */
const CLONE = /\.(?:constprop|isra|part|cold|llvm)\b.*$/;

/** How every task came into the kernel. */
const ENTRY = /^(?:do_syscall_64|entry_SYSCALL|__x64_sys_|ret_from_fork|asm_)/;

/** Functions that report trouble, wait, or allocate, and do not have it. */
const MACHINERY = new RegExp(
  `^(?:_*(?:${[
    'dump_stack|show_|print_|panic$|die|oops_|warn|report_bug|handle_bug|exc_|asm_exc_|page_fault_oops|bad_area',
    'kasan_|asan_|kmsan_|msan_|kcsan_|tsan_|ubsan_|kfence_|check_region|might_|schedule|slab_|object_err|check_bytes',
    'check_object|free_to_partial|check_noncircular|check_prev|validate_chain|lock_acquire|lock_release|lockdep_',
    'raw_spin|raw_read|raw_write|do_raw_|mutex_lock|mutex_unlock|refcount_warn|list_add_valid|list_del_entry_valid',
    'usercopy_abort|check_heap|do_user_addr_fault|nmi_|trigger_|watchdog_|rcu_|out_of_memory|oom_|dump_header',
    'alloc_pages|kmem_cache_|kmalloc|kmemleak_',
  ].join('|')})|0x)`,
);

const TRACE_START = /^(?:Call Trace:| {2}backtrace)/;
const FRAME = '\\s+(?:\\[<[0-9a-f]+>\\] )?(?:\\? )?(?:[\\w.$:<>]+\\+0x|0x[0-9a-f]+)';
const STACK_TAG = '\\s*</?(?:TASK|IRQ|SOFTIRQ|NMI|ENTRY|ENTRY_TRAMPOLINE|#[A-Z0-9]+|[A-Z]+)>';
const REGISTERS = '(?:RIP|RSP|RAX|RDX|RBP|R1[03]|FS|CS|CR2|DR[03]): +[0-9a-fx]|PKRU: |Code: |RIP: ';
const TRACE_PART = new RegExp(`^(?:${FRAME}|${STACK_TAG}|${REGISTERS})`);
/** Rulers and `[ cut here ]`. */
const DRAWN = /^[-=]{8,}/;
const TAG = new RegExp(`^${STACK_TAG}`);
const TASK_END = /^\s*<\/TASK>/;
const PLACE_LINE = /^(?:RIP: 0010:|BUG: K[A-Z]+: |WARNING: CPU: )/;
const TAINT = /^(?:CPU: .*| {6})(?:Not tainted|Tainted: ([A-Z ]{1,40}?)) +\d/;

/** Lines that start another report when the trace of this one is over. */
const RESTART = /^(?:CPU: \d|Call Trace:)/;
/** What may follow `---[ end trace`: the registers of the first oops, and the fate of the task. */
const EPILOGUE = new RegExp(`^(?:${REGISTERS}|note: .* exited with |Disabling lock debugging)`);

/** Lines that only occur within a report. */
const PART = new RegExp(
  [
    `^(?:${FRAME}|${STACK_TAG}|${REGISTERS}|$`,
    'Call Trace:|Modules linked in:|CPU: \\d+ (?:UID: \\d+ )?PID: |Tainted: |Hardware name: |Workqueue: |Stopper: ',
    'Unloaded tainted modules:|#PF: |PGD [0-9a-f]|BAD$|IDT: 0x|Oops: |KASAN: |kernel tried to execute ',
    'unable to execute userspace code|irq event stamp: |(?:hard|soft)irqs last |no locks held by |\\d+ locks? held by ',
    ' #\\d+: |INFO: lockdep is turned off|---\\[ end |note: .* exited with |Disabling lock debugging ',
    'in_atomic\\(\\): |preempt_count: |RCU nest depth: |Preemption disabled at:|\\[<[0-9a-f]+>\\] |caller is ',
    'task:|"echo 0 > | {6}(?:Not tainted|Tainted: )|Sending NMI from CPU |NMI backtrace for cpu |Stack:$',
    'rcu: |RCU grace-period kthread |Stack dump where |watchdog: |\\t#\\d+: |FIX [\\w.-]+: ',
    ' lock: .*\\.magic: | {2}comm "| {2}hex dump | {2}backtrace| {4}[0-9a-f]{2} [0-9a-f]{2} |page dumped because',
    'Kernel Offset: |Dumping ftrace buffer:|Rebooting in )',
  ].join('|'),
);
