/**
 * Keys by the names that QEMU's monitor has for them (QKeyCode), the scan codes of set 1 that port 0x60 of a PC gives
 * for them ("Keyboard Scan Code Specification", Microsoft 2000), and the numbers that Linux gives their input events
 * (include/uapi/linux/input-event-codes.h).
 */
export interface Key {
  readonly name: string;
  /** Whether the prefix 0xe0 stands before the code. */
  readonly extended: boolean;
  /** Of the press, without prefix; the release has bit 7 set. */
  readonly code: number;
  /** Linux's number. */
  readonly event: number;
}

/** Keys side by side, the code of the first; each next key has the next code. Linux uses these codes as numbers. */
const runs: readonly [number, string][] = [
  [0x01, 'esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace'],
  [0x0f, 'tab q w e r t y u i o p bracket_left bracket_right ret'],
  [0x1d, 'ctrl a s d f g h j k l semicolon apostrophe grave_accent'],
  [0x2a, 'shift backslash z x c v b n m comma dot slash shift_r kp_multiply alt spc'],
  [0x3b, 'f1 f2 f3 f4 f5 f6 f7 f8 f9 f10'],
  [0x47, 'kp_7 kp_8 kp_9 kp_subtract kp_4 kp_5 kp_6 kp_add kp_1 kp_2 kp_3 kp_0 kp_decimal'],
  [0x56, 'less f11 f12'],
];

/** Keys that the first PC did not have. */
const added: readonly [name: string, code: number, event: number][] = [
  ['kp_enter', 0x1c, 96],
  ['ctrl_r', 0x1d, 97],
  ['kp_divide', 0x35, 98],
  ['alt_r', 0x38, 100],
  ['home', 0x47, 102],
  ['up', 0x48, 103],
  ['pgup', 0x49, 104],
  ['left', 0x4b, 105],
  ['right', 0x4d, 106],
  ['end', 0x4f, 107],
  ['down', 0x50, 108],
  ['pgdn', 0x51, 109],
  ['insert', 0x52, 110],
  ['delete', 0x53, 111],
  ['meta_l', 0x5b, 125],
  ['meta_r', 0x5c, 126],
];

/**
 * All keys of a keyboard with 102 keys, but for those with longer codes (Print, Pause) and those that make the kernel
 * send commands to the keyboard, whose replies pass through the same port (the three locks).
 */
export const keys: readonly Key[] = [
  ...runs.flatMap(([first, names]) =>
    names.split(' ').map((name, i) => ({ name, extended: false, code: first + i, event: first + i })),
  ),
  ...added.map(([name, code, event]) => ({ name, extended: true, code, event })),
];

/** Those whose codes have one byte. */
export const plainKeys: readonly Key[] = keys.filter(({ extended }) => !extended);

/** Rows of letters, digits and signs: what a table in a driver has to get right. */
export const rows: readonly (readonly Key[])[] = [
  named('1 2 3 4 5 6 7 8 9 0 minus equal'),
  named('q w e r t y u i o p bracket_left bracket_right'),
  named('a s d f g h j k l semicolon apostrophe'),
  named('z x c v b n m comma dot slash'),
];

/** A key that goes down, or up. */
export interface Stroke {
  readonly key: Key;
  readonly down: boolean;
}

/** Each key pressed and released before the next. */
export function typed(list: readonly Key[]): Stroke[] {
  return list.flatMap((key) => [
    { key, down: true },
    { key, down: false },
  ]);
}

/** What port 0x60 gives for these strokes. */
export function codesOf(strokes: readonly Stroke[]): number[] {
  return strokes.flatMap(({ key, down }) => [
    ...(key.extended ? [EXTENDED] : []),
    down ? key.code : key.code | RELEASED,
  ]);
}

const EXTENDED = 0xe0;
const RELEASED = 0x80;

function named(names: string): Key[] {
  return names.split(' ').map((name) => {
    const key = keys.find((candidate) => candidate.name === name);
    if (key === undefined) throw new RangeError(`no key ${name}`);
    return key;
  });
}
