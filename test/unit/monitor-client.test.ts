import { type Duplex, duplexPair } from 'node:stream';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { LabError } from '../../src/errors.js';
import { ByteLines } from '../../src/monitor/line-channel.js';
import { Monitor } from '../../src/monitor/monitor.js';
import { scaled, type Timeouts } from '../../src/timeouts.js';

const GREETING = {
  QMP: { version: { qemu: { major: 8, minor: 2, micro: 0 }, package: '' }, capabilities: ['oob'] },
};
const timeouts = scaled(1);
const short: Timeouts = { ...timeouts, qmpGreeting: 30, qmpCommand: 30 };

type Request = { execute: string; arguments?: Record<string, unknown>; id: string };

/** A QMP server of a few lines: greets, acknowledges the negotiation, then answers with `reply`. */
class Peer {
  readonly ours: Duplex;
  readonly stream: Duplex;
  readonly requests: Request[] = [];

  constructor(reply: (request: Request, peer: Peer) => void, greet = true) {
    [this.ours, this.stream] = duplexPair();
    const lines = new ByteLines(1 << 20, (line) => {
      const request = JSON.parse(line) as Request;
      this.requests.push(request);
      if (request.execute === 'qmp_capabilities') this.send({ return: {}, id: request.id });
      else reply(request, this);
    });
    this.stream.on('data', (chunk: Buffer) => lines.push(chunk));
    this.stream.on('error', () => {});
    if (greet) this.send(GREETING);
  }

  send(message: object): void {
    this.stream.write(`${JSON.stringify(message)}\r\n`);
  }
}

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const monitor of open.splice(0)) await monitor[Symbol.asyncDispose]();
});

async function attach(peer: Peer, limits = timeouts): Promise<Monitor> {
  const monitor = await Monitor.attach(peer.ours, { timeouts: limits });
  open.push(monitor);
  return monitor;
}

async function failure(promise: Promise<unknown>): Promise<LabError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(LabError);
  return error as LabError;
}

describe('Monitor.attach', () => {
  it('negotiates and logs both directions in order', async () => {
    const peer = new Peer(() => {});
    const log: string[] = [];
    await using monitor = await Monitor.attach(peer.ours, {
      timeouts,
      log: (direction, line) => log.push(`${direction} ${line}`),
    });
    expect(monitor.greeting.version.qemu.major).toBe(8);
    expect(peer.requests.map((request) => request.execute)).toEqual(['qmp_capabilities']);
    expect(log).toEqual([
      `< ${JSON.stringify(GREETING)}`,
      '> {"execute":"qmp_capabilities","id":"lab-1"}',
      '< {"return":{},"id":"lab-1"}',
    ]);
  });

  it('refuses a peer that is no QMP server and destroys the stream', async () => {
    const peer = new Peer(() => {}, false);
    peer.stream.write('SSH-2.0-OpenSSH_9.2p1\r\n');
    const error = await failure(attach(peer));
    expect(error.code).toBe('monitor/protocol');
    expect(error.evidence).toEqual(['SSH-2.0-OpenSSH_9.2p1']);
    expect(peer.ours.destroyed).toBe(true);
  });

  it('ends with closed when QEMU dies before it greets, and for a stream that is dead already', async () => {
    const peer = new Peer(() => {}, false);
    peer.stream.end();
    expect((await failure(attach(peer))).code).toBe('monitor/closed');
    const dead = new Peer(() => {}, false);
    dead.ours.destroy();
    expect((await failure(attach(dead))).code).toBe('monitor/closed');
  });

  it('ends at its deadline and by its signal', async () => {
    expect((await failure(attach(new Peer(() => {}, false), short))).code).toBe('monitor/timeout');
    const abort = new AbortController();
    const attaching = Monitor.attach(new Peer(() => {}, false).ours, { timeouts, signal: abort.signal });
    abort.abort();
    expect((await failure(attaching)).code).toBe('interrupted');
  });
});

describe('Monitor.execute', () => {
  it('matches replies by id, in whatever order they come', async () => {
    const held: Request[] = [];
    const peer = new Peer((request, self) => {
      held.push(request);
      if (held.length < 3) return;
      for (const one of held.reverse()) self.send({ return: one.arguments?.name ?? 'none', id: one.id });
    });
    const monitor = await attach(peer);
    const replies = await Promise.all(['a', 'b', 'c'].map((name) => monitor.execute('echo', { name })));
    expect(replies).toEqual(['a', 'b', 'c']);
  });

  it("carries QEMU's class and description of a refusal", async () => {
    const peer = new Peer(({ id }, self) =>
      self.send({ id, error: { class: 'DeviceNotFound', desc: "Device 'x' not found" } }),
    );
    const error = await failure((await attach(peer)).execute('device_del', { id: 'x' }));
    expect(error.code).toBe('monitor/command');
    expect(error.evidence).toEqual(['class: DeviceNotFound', "description: Device 'x' not found"]);
  });

  it('ignores a reply that comes after the deadline of its command', async () => {
    const late: Request[] = [];
    const peer = new Peer((request, self) => {
      if (request.execute === 'slow') late.push(request);
      else self.send({ return: 'ok', id: request.id });
    });
    const monitor = await attach(peer);
    const error = await failure(monitor.execute('slow', {}, { timeout: 20 }));
    expect(error.code).toBe('monitor/timeout');
    peer.send({ return: 'too late', id: late[0]?.id });
    expect(await monitor.execute('quick')).toBe('ok');
  });

  it('fails every command and wait in flight, and every later one, when QEMU dies', async () => {
    const peer = new Peer((_, self) => self.stream.end());
    const monitor = await attach(peer);
    const event = monitor.nextEvent('SHUTDOWN', { timeout: 10_000 });
    const [first, second, third] = await Promise.all(
      [event, monitor.execute('quit'), monitor.execute('query-status')].map(failure),
    );
    expect([first, second, third].map((error) => error?.code)).toEqual(Array(3).fill('monitor/closed'));
    expect((await monitor.closed).code).toBe('monitor/closed');
    expect((await failure(monitor.execute('cont'))).code).toBe('monitor/closed');
    expect((await failure(monitor.nextEvent('STOP', { timeout: 10 }))).code).toBe('monitor/closed');
  });

  it('ends one command by its signal and leaves the others alone', async () => {
    const peer = new Peer(({ execute, id }, self) => {
      if (execute === 'cont') self.send({ return: {}, id });
    });
    const monitor = await attach(peer);
    const abort = new AbortController();
    const stopped = failure(monitor.execute('stop', {}, { signal: abort.signal }));
    abort.abort();
    expect((await stopped).code).toBe('interrupted');
    expect(await monitor.execute('cont')).toEqual({});
    expect((await failure(monitor.execute('cont', {}, { signal: abort.signal }))).code).toBe('interrupted');
    expect(peer.requests.map(({ execute }) => execute)).toEqual(['qmp_capabilities', 'stop', 'cont']);
  });

  it.each([
    ['not JSON', '{"return": '],
    ['an array', '[]'],
    ['neither reply nor event', '{"hello": 1}'],
    ['a reply to nobody', '{"return": {}, "id": "lab-99"}'],
    ['an error without id', '{"error": {"class": "GenericError", "desc": "JSON parse error"}}'],
  ])('ends with protocol on %s', async (_, line) => {
    const peer = new Peer((__, self) => self.stream.write(`${line}\n`));
    const error = await failure((await attach(peer)).execute('query-status'));
    expect(error.code).toBe('monitor/protocol');
    expect(peer.ours.destroyed).toBe(true);
  });

  it('sends in order through a peer that reads slowly', async () => {
    const seen: number[] = [];
    const peer = new Peer(({ arguments: args, id }, self) => {
      seen.push(args?.n as number);
      self.send({ return: {}, id });
    });
    const monitor = await attach(peer);
    peer.stream.pause();
    const filler = 'x'.repeat(2000);
    const all = Promise.all(Array.from({ length: 300 }, (_, n) => monitor.execute('note', { n, filler })));
    setImmediate(() => peer.stream.resume());
    await all;
    expect(seen).toEqual(Array.from({ length: 300 }, (_, n) => n));
  });
});

describe('events', () => {
  const event = (name: string, data?: object) => ({
    event: name,
    ...(data && { data }),
    timestamp: { seconds: 5, microseconds: 6 },
  });

  it('reach their listeners, also those that come between a command and its reply', async () => {
    const peer = new Peer(({ id }, self) => {
      self.send(event('RESUME'));
      self.send(event('RESET', { guest: true }));
      self.send({ return: {}, id });
    });
    const monitor = await attach(peer);
    const seen: string[] = [];
    monitor.on('*', ({ event: name }) => seen.push(`any ${name}`));
    const unsubscribe = monitor.on('RESET', ({ data }) => seen.push(`reset ${String(data.guest)}`));
    await monitor.execute('cont');
    unsubscribe();
    await monitor.execute('cont');
    expect(seen).toEqual(['any RESUME', 'reset true', 'any RESET', 'any RESUME', 'any RESET']);
  });

  it('nextEvent takes a name or a predicate', async () => {
    const peer = new Peer(({ id }, self) => {
      self.send(event('DEVICE_DELETED', { device: 'a' }));
      self.send(event('DEVICE_DELETED', { device: 'b' }));
      self.send({ return: {}, id });
    });
    const monitor = await attach(peer);
    const first = monitor.nextEvent('DEVICE_DELETED', { timeout: 1000 });
    const b = monitor.nextEvent(({ data }) => data.device === 'b', { timeout: 1000 });
    await monitor.execute('device_del', { id: 'a' });
    expect((await first).data.device).toBe('a');
    expect((await b).timestamp).toEqual({ seconds: 5, microseconds: 6 });
    const error = await failure(monitor.nextEvent('NEVER', { timeout: 10 }));
    expect(error.code).toBe('monitor/timeout');
  });
});

describe('ByteLines', () => {
  it('gives the same lines however the bytes are cut', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'é', '€', '😀', '\r', '\n'), maxLength: 60 });
    const property = fc.property(text, fc.array(fc.nat(80)), (whole, cuts) => {
      const bytes = Buffer.from(`${whole}\n`);
      const at = [...new Set(cuts.map((cut) => cut % bytes.length))].sort((a, b) => a - b);
      const collect = (chunks: Buffer[]) => {
        const lines: string[] = [];
        const splitter = new ByteLines(1000, (line) => lines.push(line));
        for (const chunk of chunks) splitter.push(chunk);
        return lines;
      };
      const pieces = [0, ...at].map((from, i) => bytes.subarray(from, at[i] ?? bytes.length));
      expect(collect(pieces)).toEqual(collect([bytes]));
      expect(collect([bytes])).toEqual(
        `${whole}\n`
          .split('\n')
          .slice(0, -1)
          .map((l) => l.replace(/\r$/, '')),
      );
    });
    fc.assert(property);
  });

  it('bounds the length of a line', () => {
    const splitter = new ByteLines(8, () => {});
    splitter.push(Buffer.from('12345678\n1234'));
    expect(() => splitter.push(Buffer.from('56789'))).toThrow(/longer than 8/);
  });
});
