import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { backendOf } from '../../src/nbd/aligned.js';
import { ByteQueue } from '../../src/nbd/byte-queue.js';
import { sparse } from '../../src/nbd/devices/memory.js';
import { type Export, Handshake, type HandshakeEnd, ProtocolError } from '../../src/nbd/handshake.js';
import { contextData, cutAt, infoData, option, optionReplies, uint } from '../support/nbd-client.js';

const readOnly = { blockSize: () => 512, blocks: () => 4, read: () => {} };
const exports: Export[] = [
  { name: 'disk', description: 'a disk', backend: backendOf(sparse(1 << 20, 1024)), tellReadOnly: true },
  { name: 'rom', description: '', backend: backendOf(readOnly), tellReadOnly: true },
];
const FLAGS = uint(4, 3);
const ACK = 1;
const INVALID = 0x80000003;

/** The server's answer to what a client sends after the greeting. */
function talk(...chunks: Buffer[]): { end: HandshakeEnd | undefined; sent: Buffer; rest: number } {
  const sent: Buffer[] = [];
  const input = new ByteQueue();
  const handshake = new Handshake(exports, (data) => void sent.push(data));
  let end: HandshakeEnd | undefined;
  for (const chunk of chunks) {
    input.push(chunk);
    end ??= handshake.advance(input);
  }
  return { end, sent: Buffer.concat(sent), rest: input.length };
}

const replies = (...chunks: Buffer[]) => optionReplies(talk(FLAGS, ...chunks).sent);

describe('the handshake', () => {
  test('GO describes the export and ends it', () => {
    const { end, sent } = talk(FLAGS, option(8), option(7, infoData('disk', [1, 2, 3])));
    expect(end).toMatchObject({ agreed: { structured: true, allocation: false, export: { name: 'disk' } } });
    const infos = optionReplies(sent).filter(({ option, type }) => option === 7 && type === 3);
    expect(infos.map(({ data }) => data.readUInt16BE(0))).toEqual([0, 1, 2, 3]);
    expect(infos[0]?.data.readBigUInt64BE(2)).toBe(1n << 20n);
    expect(infos[1]?.data.toString('utf8', 2)).toBe('disk');
    expect([2, 6, 10].map((at) => infos[3]?.data.readUInt32BE(at))).toEqual([1, 4096, 32 << 20]);
    expect(optionReplies(sent).at(-1)).toMatchObject({ option: 7, type: ACK });
  });

  test('the nameless export is the first one', () => {
    expect(talk(FLAGS, option(7, infoData(''))).end).toMatchObject({ agreed: { export: { name: 'disk' } } });
  });

  test('INFO tells the same and goes on', () => {
    const { end, sent } = talk(FLAGS, option(6, infoData('rom')));
    expect(end).toBeUndefined();
    const flags = optionReplies(sent)[0]?.data.readUInt16BE(10) ?? 0;
    expect(flags & 0b10, 'read-only').toBe(2);
    expect(flags & 0b100, 'no flush').toBe(0);
  });

  test('EXPORT_NAME works, with zeros and without', () => {
    const name = option(1, Buffer.from('disk'));
    const { end, sent, rest } = talk(uint(4, 1), name, Buffer.from('next'));
    expect(end).toMatchObject({ agreed: { structured: false } });
    expect(sent.length).toBe(10 + 124);
    expect(sent.readBigUInt64BE(0)).toBe(1n << 20n);
    expect(rest, 'the first request is left alone').toBe(4);
    expect(talk(FLAGS, name).sent.length).toBe(10);
    expect(talk(uint(4, 0), name).end, 'of a client that is not of the fixed kind').toMatchObject({
      agreed: {},
    });
  });

  test('LIST names all exports', () => {
    const names = replies(option(3)).map(({ type, data }) => [type, data.toString('utf8', 4)]);
    expect(names).toEqual([
      [2, 'diska disk'],
      [2, 'rom'],
      [ACK, ''],
    ]);
  });

  test('ABORT is answered and ends it', () => {
    expect(talk(FLAGS, option(2)).end).toBe('abort');
    expect(replies(option(2))).toMatchObject([{ option: 2, type: ACK }]);
  });

  test('the allocation context can be listed and chosen, for the export that it was chosen for', () => {
    const choose = (name: string) =>
      option(10, contextData(name, ['base:allocation', 'other:thing', 'base:']));
    const listed = replies(option(8), option(9, contextData('disk', [])));
    expect(listed.map(({ type }) => type)).toEqual([ACK, 4, ACK]);
    expect(listed[1]?.data.toString('utf8', 4)).toBe('base:allocation');
    const agreed = (...options: Buffer[]) =>
      talk(FLAGS, option(8), ...options, option(7, infoData('disk'))).end;
    expect(agreed(choose('disk'))).toMatchObject({ agreed: { allocation: true } });
    expect(agreed(choose(''))).toMatchObject({ agreed: { allocation: true } });
    expect(agreed(choose('rom'))).toMatchObject({ agreed: { allocation: false } });
    expect(agreed(choose('disk'), option(10, contextData('disk', [])))).toMatchObject({
      agreed: { allocation: false },
    });
  });

  test.each([
    ['an unknown option', option(77, Buffer.from('x')), 0x80000001],
    ['STARTTLS', option(5), 0x80000001],
    ['LIST with data', option(3, Buffer.from('x')), INVALID],
    ['STRUCTURED_REPLY with data', option(8, Buffer.from('x')), INVALID],
    ['a context before structured replies', option(10, contextData('disk', ['base:allocation'])), INVALID],
    ['GO for an unknown name', option(7, infoData('nothing')), 0x80000006],
    [
      'GO whose name is longer than the option',
      option(7, Buffer.concat([uint(4, 99), Buffer.alloc(8)])),
      INVALID,
    ],
    ['GO without data', option(7), INVALID],
    ['GO with bytes left over', option(7, Buffer.concat([infoData('disk'), Buffer.alloc(1)])), INVALID],
  ])('%s is refused, and the handshake goes on', (_what, sent, error) => {
    const { end, sent: answer } = talk(FLAGS, sent, option(2));
    expect(optionReplies(answer).map(({ type }) => type)).toEqual([error, ACK]);
    expect(end).toBe('abort');
  });

  test('a context option whose lengths lie is refused', () => {
    const lies = Buffer.concat([
      uint(4, 4),
      Buffer.from('disk'),
      uint(4, 1),
      uint(4, 4000),
      Buffer.from('base:'),
    ]);
    expect(replies(option(8), option(10, lies)).map(({ type }) => type)).toEqual([ACK, INVALID]);
  });

  test.each([
    ['unknown client flags', [uint(4, 4)]],
    ['an option without its magic number', [FLAGS, Buffer.alloc(16, 1)]],
    ['an option of 4 GiB', [FLAGS, option(7).fill(0xff, 12, 16)]],
    ['EXPORT_NAME of what is not there', [FLAGS, option(1, Buffer.from('nothing'))]],
    ['a second option of a client that knows only one', [uint(4, 0), option(3)]],
  ])('%s: the connection is closed', (_what, chunks) => {
    expect(() => talk(...chunks)).toThrow(ProtocolError);
  });

  test('answers do not depend on how the stream was cut', () => {
    const stream = Buffer.concat([
      ...[FLAGS, option(3), option(8), option(77, Buffer.alloc(300, 7))],
      ...[
        option(10, contextData('disk', ['base:allocation'])),
        option(7, infoData('disk', [3])),
        Buffer.alloc(28),
      ],
    ]);
    const whole = talk(stream);
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 40 }), (places) => {
        const cut = talk(...cutAt(stream, places));
        expect(cut.sent.equals(whole.sent)).toBe(true);
        expect(cut.end).toEqual(whole.end);
        expect(cut.rest).toBe(28);
      }),
    );
  });

  test('garbage is answered or breaks the connection, and nothing else', () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc
        .tuple(fc.integer({ min: 0, max: 12 }), fc.uint8Array({ maxLength: 80 }))
        .map(([code, data]) => option(code, data)),
      fc.constantFrom(option(8), option(7, infoData('rom')), FLAGS),
    );
    fc.assert(
      fc.property(fc.array(anything, { maxLength: 20 }), (chunks) => {
        try {
          talk(FLAGS, ...chunks);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
