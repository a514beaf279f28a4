import { type PciAddress, readConfig } from '../../src/qtest/pci.js';
import type { QTest } from '../../src/qtest/qtest.js';

/** The offset of the first capability of a function that has this id. */
export async function findCapability(qtest: QTest, at: PciAddress, id: number): Promise<number> {
  const next = (offset: number) => readConfig(qtest, at, offset, 1);
  for (let offset = await next(0x34); offset !== 0; offset = await next(offset + 1)) {
    if ((await next(offset)) === id) return offset;
  }
  throw new Error(`there is no capability ${id}`);
}
