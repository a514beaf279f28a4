import { describe, expect, it } from 'vitest';
import { insertText } from '../../src/build/edit.js';
import { LabError } from '../../src/errors.js';

const target = { path: 'hw/misc/Kconfig', blame: 'submission' } as const;
const file = 'config A\n\tbool\n\nconfig B\n    bool\n';

describe('insertText', () => {
  it('appends at the end, and ends lines that have no newline', () => {
    expect(insertText('a', 'end', 'b', target)).toBe('a\nb\n');
    expect(insertText('a\n', 'end', 'b\n', target)).toBe('a\nb\n');
    expect(insertText('', 'end', 'b', target)).toBe('b\n');
  });

  it('inserts before and after a line, whatever its indentation', () => {
    expect(insertText(file, { before: 'config B' }, 'config X', target)).toBe(
      'config A\n\tbool\n\nconfig X\nconfig B\n    bool\n',
    );
    expect(insertText(file, { after: '  config   B ' }, '# x', target)).toBe(
      'config A\n\tbool\n\nconfig B\n# x\n    bool\n',
    );
  });

  it('finds an anchor of several lines', () => {
    expect(insertText(file, { after: 'config B\nbool' }, '# x', target)).toBe(`${file}# x\n`);
    expect(insertText(file, { before: 'config A\nbool' }, '# x', target)).toBe(`# x\n${file}`);
  });

  it('does not take a part of a line for the line', () => {
    expect(() => insertText(file, { after: 'config' }, 'x', target)).toThrow(LabError);
  });

  it('names the nearest lines when the anchor is missing', () => {
    const error = caught(() => insertText(file, { after: 'config C' }, 'x', target));
    expect(error).toMatchObject({ code: 'build/anchor', blame: 'submission' });
    expect(error?.evidence).toEqual(['hw/misc/Kconfig:1: config A', 'hw/misc/Kconfig:4: config B']);
  });

  it('refuses an anchor that occurs twice, and says where', () => {
    const error = caught(() => insertText(file, { before: 'bool' }, 'x', target));
    expect(error?.code).toBe('build/anchor');
    expect(error?.evidence).toEqual(['hw/misc/Kconfig:2: \tbool', 'hw/misc/Kconfig:5:     bool']);
  });
});

function caught(body: () => unknown): LabError | undefined {
  try {
    body();
  } catch (error) {
    if (error instanceof LabError) return error;
    throw error;
  }
  return undefined;
}
