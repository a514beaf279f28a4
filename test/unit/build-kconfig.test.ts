import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkKconfig, formatKconfig, mergeKconfig, parseKconfig } from '../../src/build/kconfig.js';

describe('kconfig', () => {
  it('reads values, strings and what is off', () => {
    const text =
      '# a comment\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D="a b"\nCONFIG_E=0x10 \n';
    expect([...parseKconfig(text)]).toEqual([
      ['A', 'y'],
      ['B', 'm'],
      ['C', 'n'],
      ['D', '"a b"'],
      ['E', '0x10'],
    ]);
  });

  it('lets the last one win, and writes what it reads', () => {
    const merged = mergeKconfig(
      parseKconfig('CONFIG_A=y\nCONFIG_B=y\n'),
      parseKconfig('# CONFIG_A is not set\n'),
    );
    expect(formatKconfig(merged)).toBe('# CONFIG_A is not set\nCONFIG_B=y\n');
    expect(parseKconfig(formatKconfig(merged))).toEqual(merged);
  });

  it('lists every wanted symbol that was lost', () => {
    const wanted = parseKconfig(
      'CONFIG_A=y\nCONFIG_B=m\nCONFIG_C=y\n# CONFIG_D is not set\n# CONFIG_E is not set\n',
    );
    const actual = parseKconfig('CONFIG_A=y\nCONFIG_B=y\nCONFIG_D=y\n');
    let evidence: readonly string[] = [];
    try {
      checkKconfig(wanted, actual, 'Linux 6.6');
    } catch (error) {
      expect(error).toMatchObject({ code: 'build/kconfig' });
      ({ evidence } = error as { evidence: readonly string[] });
    }
    expect(evidence).toEqual([
      'CONFIG_B: wanted m, got y',
      'CONFIG_C: wanted y, got nothing',
      'CONFIG_D: wanted n, got y',
    ]);
  });
});

describe('the fragments in vm/kernel', () => {
  it.each(['lab', 'needed', 'older'])('%s.config has symbols only, each once', (name) => {
    const text = readFileSync(join(import.meta.dirname, '../../vm/kernel', `${name}.config`), 'utf8');
    const lines = text.split('\n').filter((line) => /^(# )?CONFIG_/.test(line));
    expect(parseKconfig(text).size).toBe(lines.length);
    expect(text.split('\n').filter((line) => line !== '' && !/^(#|CONFIG_\w+=\S)/.test(line))).toEqual([]);
  });
});
