/** Text with one character per byte, LF only, and what had to be done to get there. */
export interface PlainText {
  /** Bytes as latin1, so that nothing is lost whatever the encoding of names and comments is. */
  readonly text: string;
  /** In words, for the report. */
  readonly changes: readonly string[];
}

/** Undoes what Windows and its editors do to a patch or a source: byte order marks, UTF-16, CR LF. */
export function plainText(data: Buffer): PlainText {
  const changes: string[] = [];
  const wide = wideEncoding(data);
  let bytes = data;
  if (wide !== undefined) {
    bytes = Buffer.from(new TextDecoder(wide).decode(data), 'utf8');
    changes.push('converted from UTF-16');
  } else if (data.subarray(0, 3).equals(UTF8_MARK)) {
    bytes = data.subarray(3);
    changes.push('took off a byte order mark');
  }
  const raw = bytes.toString('latin1');
  if (!raw.includes('\r')) return { text: raw, changes };
  changes.push('made Windows line ends (CR LF) plain ones');
  return { text: withoutReturns(raw), changes };
}

/** Files that went through several programs end their lines in several CRs. */
function withoutReturns(raw: string): string {
  let text = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
  for (let i = 0; i < 3; i += 1) text = text.replaceAll('\r\n', '\n');
  return text;
}

/** C without its comments; in linear time, whatever the text. */
export function withoutComments(text: string): string {
  const kept: string[] = [];
  let at = 0;
  for (let from = text.indexOf('/*'); from !== -1; from = text.indexOf('/*', at)) {
    kept.push(text.slice(at, from));
    const end = text.indexOf('*/', from + 2);
    at = end === -1 ? text.length : end + 2;
    if (end === -1) break;
  }
  kept.push(text.slice(at));
  return kept.join(' ').replace(/(^|[ \t])\/\/[^\n]*/gm, ' ');
}

/** What a person reads in latin1-coded bytes. */
export function readable(text: string): string {
  return Buffer.from(text, 'latin1').toString('utf8');
}

/** Whether these are no characters: pictures, object files, archives. */
export function isBinary(data: Buffer): boolean {
  return wideEncoding(data) === undefined && data.subarray(0, 8192).includes(0);
}

const UTF8_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

function wideEncoding(data: Buffer): 'utf-16le' | 'utf-16be' | undefined {
  if (data.length < 2) return undefined;
  const mark = data.readUInt16BE(0);
  if (mark === 0xfffe) return 'utf-16le';
  if (mark === 0xfeff) return 'utf-16be';
  const head = data.subarray(0, 200);
  const zeros = (odd: number) => head.filter((byte, i) => i % 2 === odd && byte === 0).length;
  if (head.length < 20) return undefined;
  if (zeros(1) > head.length * 0.4 && zeros(0) === 0) return 'utf-16le';
  return zeros(0) > head.length * 0.4 && zeros(1) === 0 ? 'utf-16be' : undefined;
}
