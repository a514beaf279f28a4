import { cpus, release } from 'node:os';
import { CONFINEMENT } from '../sandbox/jail.js';
import type { GradingHost } from './grade-report.js';

/** This host, as reports describe it. Machines for grading are always emulated. */
export function hostOf(): GradingHost {
  return {
    cpus: cpus().length,
    cpu: cpus()[0]?.model ?? 'unknown',
    kernel: release(),
    node: process.version,
    accelerator: 'tcg',
    sandboxed: true,
    confinement: CONFINEMENT,
  };
}
