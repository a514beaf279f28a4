import type { KernelReport } from '../console/kernel-report.js';

const COPY =
  'use copy_to_user() and copy_from_user() (or put_user() and get_user()), return -EFAULT when they fail, ' +
  'and never follow a pointer that came from user space';

export type CrashReport = Pick<KernelReport, 'kind' | 'title' | 'lines' | 'rip'>;

/**
 * What a kernel report means for whoever wrote the driver. Pure.
 *
 * @param tried user address that a program was just giving to the driver, if that is known
 */
export function describeKernelCrash(
  report: CrashReport,
  tried: bigint | undefined,
): { fact: string; hint: string; raw: boolean } {
  const place = report.rip === undefined ? '' : ` in ${report.rip.symbol}()`;
  const touched = /(?:for address|dereference, address): ?([0-9a-f]{8,16})/.exec(
    report.lines.join('\n'),
  )?.[1];
  const address = touched === undefined ? undefined : BigInt(`0x${touched}`);
  if (address !== undefined && (isSmapFault(report.lines, address) || address === tried)) {
    const fact = `the driver touches the user's pointer directly${place}, and the kernel ended it`;
    return { fact, hint: COPY, raw: true };
  }
  if (report.kind === 'general-protection' && tried !== undefined) {
    const fact = `the driver touches the user's pointer directly${place}: a bad address crashed the kernel`;
    return { fact, hint: COPY, raw: true };
  }
  const hint =
    'the report below names the function and, after RIP, the place in it; look at what it accesses there';
  return { fact: `the kernel crashed${place}: ${report.title}`, hint, raw: false };
}

/** A present page of user space that the kernel may not touch without saying so (SDM 3A, 4.6.1). */
function isSmapFault(lines: readonly string[], address: bigint): boolean {
  const code = /error_code\(0x([0-9a-f]+)\)/.exec(lines.join('\n'))?.[1];
  const present = code !== undefined && (Number.parseInt(code, 16) & 1) === 1;
  return present && address < 0x0000_8000_0000_0000n;
}
