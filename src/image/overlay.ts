import { access, constants } from 'node:fs/promises';
import { LabError } from '../errors.js';
import { run } from '../host/run.js';
import { scaled } from '../timeouts.js';

export interface OverlayRequest {
  /** The base image; it is only ever read. */
  readonly base: string;
  /** Path of the overlay; an old one is replaced. */
  readonly path: string;
  readonly qemuImg: string;
  readonly signal?: AbortSignal;
  /** Milliseconds for each call of qemu-img; default that of a host tool. */
  readonly timeout?: number;
}

/**
 * Makes an empty qcow2 overlay of a base image, so that a crash of the guest never damages the base.
 *
 * @throws LabError `image/base-missing`, `image/base-corrupt` when qemu-img finds errors in the base.
 */
export async function createOverlay(request: OverlayRequest): Promise<void> {
  const { base, path, qemuImg, signal, timeout = scaled(1).hostTool } = request;
  const options = { signal, timeout };
  await access(base, constants.R_OK).catch((cause) => Promise.reject(missing(base, cause)));
  try {
    await run(qemuImg, ['check', '-q', '-f', 'qcow2', base], options);
  } catch (cause) {
    if (!(cause instanceof LabError) || cause.code !== 'run/failed') throw cause;
    throw corrupt(base, cause);
  }
  await run(qemuImg, ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', base, path], options);
}

function missing(base: string, cause: unknown): LabError {
  return new LabError({
    code: 'image/base-missing',
    blame: 'host',
    fact: `the base image ${base} cannot be read`,
    evidence: [String(cause)],
    next: 'run `lab up` again, which makes it anew',
    cause,
  });
}

function corrupt(base: string, cause: LabError): LabError {
  return new LabError({
    code: 'image/base-corrupt',
    blame: 'host',
    fact: `the base image ${base} is damaged`,
    evidence: cause.evidence,
    next: 'remove its folder, or run `lab cache verify`, and run `lab up` again',
    cause,
  });
}
