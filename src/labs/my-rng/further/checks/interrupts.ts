import { type Check, type CheckContext, expectEqual } from '../../../../lab/check.js';
import { mustRun } from '../../../../lab/run-logged.js';
import { countedSince, countersOf } from '../counters.js';
import { type FurtherDevice, INTX, MSI } from '../devices.js';
import { pciNameOf } from '../driver.js';
import { expectRead } from './paths.js';

const TRANSFERS = 400;
const BYTES = 4096;

/** Bulk transfers end with an interrupt, of the kind that the device has. */
export const interruptChecks: readonly Check[] = [MSI, INTX].map((device) => ({
  id: `interrupts-${device.interrupt.toLowerCase()}`,
  title: `${TRANSFERS} transfers end with as many interrupts by ${device.interrupt}, as device and kernel count them`,
  deadline: 15_000,
  run: (context) => interrupts(context, device),
}));

async function interrupts(context: CheckContext, device: FurtherDevice): Promise<void> {
  const counts = { device: await countersOf(context, device.id), kernel: await kernelCount(context, device) };
  const seed = context.nonce.readUInt32LE(8);
  await expectRead(context, device, { path: 'bulk', seed, bytes: TRANSFERS * BYTES, chunk: BYTES });
  const { interrupts: sent } = countedSince(counts.device, await countersOf(context, device.id));
  const { line, count } = await kernelCount(context, device);
  expectEqual('the interrupts that the kernel handled', count - counts.kernel.count, sent);
  expectEqual(`the interrupts that ${device.id} sent`, sent, TRANSFERS);
  const controller = device.interrupt === 'MSI' ? 'PCI-MSI' : 'IO-APIC';
  expectEqual('the line of /proc/interrupts', line.includes(controller), true, line);
  const show = `lspci -vv -s ${await pciNameOf(context, device.id)} 2>/dev/null | grep -o "MSI: Enable." || echo none`;
  const enabled = (await mustRun(context, show)).stdout.trim();
  expectEqual('MSI in lspci -vv', enabled, device.interrupt === 'MSI' ? 'MSI: Enable+' : 'none');
  context.prove(
    `${sent} sent, ${sent} handled; /proc/interrupts: ${line.replace(/\s+/g, ' ')}; lspci: ${enabled}`,
  );
}

async function kernelCount(
  context: CheckContext,
  { name }: FurtherDevice,
): Promise<{ readonly line: string; readonly count: number }> {
  const line = (await mustRun(context, `grep -w ${name} /proc/interrupts`)).stdout.trim();
  return { line, count: Number(line.split(/\s+/)[1]) };
}
