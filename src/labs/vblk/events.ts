import { LabError } from '../../errors.js';
import type { ServerEvent } from '../../nbd/vblk.js';
import { openWait, type Wait } from '../../waits.js';

/** What happened to a server so far, in order; more can be waited for. */
export class ServerEvents {
  readonly all: ServerEvent[] = [];
  readonly #waiting = new Set<() => void>();

  readonly add = (event: ServerEvent): void => {
    this.all.push(event);
    for (const look of [...this.#waiting]) look();
  };

  count(type: ServerEvent['type']): number {
    return this.all.filter((event) => event.type === type).length;
  }

  /** How the connections ended, in order. */
  get ends(): readonly boolean[] {
    return this.all.flatMap((event) => (event.type === 'ended' ? [event.graceful] : []));
  }

  /**
   * Waits until there were `count` events of the type.
   *
   * @throws LabError `vblk/no-event` with what there was instead.
   */
  async until(
    type: ServerEvent['type'],
    count: number,
    { timeout, signal }: { readonly timeout: number; readonly signal: AbortSignal },
  ): Promise<void> {
    const what = `the ${type} number ${count} of the NBD server`;
    const look = () => {
      if (this.count(type) >= count) wait.resolve();
    };
    const wait: Wait<void> = openWait<void>({
      ...{ what, timeout, signal },
      onTimeout: () => missing(what, timeout, this.all),
      onEnd: () => this.#waiting.delete(look),
    });
    this.#waiting.add(look);
    look();
    await wait.promise;
  }
}

function missing(what: string, timeout: number, all: readonly ServerEvent[]): LabError {
  return new LabError({
    code: 'vblk/no-event',
    blame: 'host',
    fact: `${what} did not come within ${(timeout / 1000).toFixed(1)} s`,
    evidence: all.slice(-10).map((event) => JSON.stringify(event)),
    next: 'look at what the guest says of the disk: `lab exec -- dmesg`',
  });
}
