import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Deadline } from '../../src/deadline.js';

/** As a process that is stopped: nothing of it runs. */
function stand(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function within(ms: number): { late: Promise<void>; deadline: Deadline | undefined; events: string[] } {
  const events: string[] = [];
  let deadline: Deadline | undefined;
  const late = new Promise<void>((resolve) => {
    const tell = () => {
      events.push('late');
      resolve();
    };
    deadline = new Deadline(tell, ms);
  });
  return { late, deadline: deadline as Deadline | undefined, events };
}

describe('a deadline', () => {
  test('comes, once', async () => {
    const { late, events } = within(20);
    await late;
    await delay(40);
    expect(events).toEqual(['late']);
  });

  test('does not come when it was cleared', async () => {
    const { deadline, events } = within(20);
    deadline?.clear();
    deadline?.clear();
    await delay(40);
    expect(events).toEqual([]);
  });

  test('leaves the time that was left when this process was stopped', async () => {
    const { late, events } = within(600);
    await delay(100);
    stand(2000);
    // in plain time it was due long ago
    await delay(100);
    events.push('answer');
    await late;
    expect(events).toEqual(['answer', 'late']);
  });

  test('that begins after a stop is not longer for it', async () => {
    const first = within(5000);
    stand(2000);
    const second = within(100);
    const plain = delay(4000).then(() => second.events.push('plain'));
    await second.late;
    await plain;
    first.deadline?.clear();
    expect(second.events).toEqual(['late', 'plain']);
  });
});
