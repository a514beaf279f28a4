import { cpus, release } from 'node:os';
import { isConfined } from '../sandbox/confinement.js';
import { CONFINEMENT } from '../sandbox/walls.js';
import type { GradingHost } from './grade-report.js';

/** This host, as reports describe it. Machines for grading are always emulated. */
export function hostOf(): GradingHost {
  return {
    cpus: cpus().length,
    cpu: cpus()[0]?.model ?? 'unknown',
    kernel: release(),
    node: process.version,
    accelerator: 'tcg',
    sandboxed: isConfined(),
    confinement: isConfined() ? CONFINEMENT : [],
  };
}
