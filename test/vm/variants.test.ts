import { describe, expect, test } from 'vitest';
import type { Report } from '../../src/grade/report.js';
import { noQemuLeft, useCli } from './cli.js';

const { lab, state } = useCli();

describe('other machines and kernels, each on a machine of its own', () => {
  test.each([
    ['moved', ['--profile', 'moved'], 'Memory at febf2000'],
    ['fast', ['--profile', 'fast'], '32-bit, non-prefetchable'],
  ])('%s: all checks pass', async (_, options, memory) => {
    const report = await passes(...options);
    const bar = report.checks.find(({ id }) => id === 'pci-bar');
    const text = report.checks.find(({ id }) => id === 'lspci-text');
    expect(bar?.outcome).toBe('passed');
    expect(text?.evidence.join('\n')).toContain(memory);
  });

  test('built-in: the boot test ran, and module checks are skipped with the reason', async () => {
    const report = await passes('--variant', 'built-in', '--profile', 'fast');
    const outcomes = Object.fromEntries(report.checks.map(({ id, outcome }) => [id, outcome]));
    expect(outcomes).toMatchObject({ 'boot-test': 'passed', insmod: 'skipped', reload: 'skipped' });
  });
});

async function passes(...options: string[]): Promise<Report> {
  const { code, stdout, stderr } = await lab('test', '--json', ...options);
  const report = JSON.parse(stdout || '{"checks":[]}') as Report;
  expect(
    report.checks.filter(({ outcome }) => outcome !== 'passed' && outcome !== 'skipped'),
    stderr,
  ).toEqual([]);
  expect(code).toBe(0);
  expect(await noQemuLeft(state())).toBe(true);
  return report;
}
