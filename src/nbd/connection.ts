import type { Socket } from 'node:net';
import { ByteQueue } from './byte-queue.js';
import { type Export, Handshake, ProtocolError } from './handshake.js';
import { greeting } from './protocol.js';
import { type Shared, Transmission } from './transmission.js';

/** How a connection ended, for logs. */
export interface ConnectionEnd {
  /** The client said good-bye. */
  readonly graceful: boolean;
  /** Why it was closed by the server, if it was. */
  readonly reason?: string;
}

export interface ConnectionOptions {
  readonly exports: readonly Export[];
  readonly shared: Shared;
  /** Milliseconds for the whole handshake. */
  readonly handshakeTimeout: number;
  /** Milliseconds without progress after which a client that holds memory others wait for is cut off. */
  readonly stallTimeout: number;
  readonly onNegotiated: (chosen: Export) => void;
  /** Called once, also for a connection that never got beyond the handshake. */
  readonly onEnd: (end: ConnectionEnd, chosen: Export | undefined) => void;
}

/** Bytes of replies that wait for a client; no further request of its is served meanwhile. */
const MOST_UNSENT = 1024 * 1024;

/** One client, from greeting to end. */
export class Connection {
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  readonly #input = new ByteQueue();
  readonly #handshake: Handshake;
  readonly #timer: NodeJS.Timeout;
  #transmission: Transmission | undefined;
  #chosen: Export | undefined;
  #leaving = false;
  #graceful = false;
  #reason: string | undefined;
  #pumping = false;
  readonly #over: Promise<void>;

  constructor(socket: Socket, options: ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#handshake = new Handshake(options.exports, (data) => void socket.write(data));
    this.#timer = setTimeout(() => this.#close('no agreement in time'), options.handshakeTimeout);
    this.#timer.unref();
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      this.#input.push(chunk);
      this.#pump();
    });
    socket.on('drain', () => this.#pump());
    socket.on('error', (error) => {
      this.#reason ??= error.message;
    });
    this.#over = new Promise((resolve) => {
      socket.on('close', () => {
        this.#ended();
        resolve();
      });
    });
    socket.write(greeting());
  }

  /** Refuses further requests, lets those that go on end, and closes. */
  async shutDown(deadline: AbortSignal): Promise<void> {
    this.#leaving = true;
    this.#transmission?.shutDown();
    const late = new Promise<void>((resolve) =>
      deadline.addEventListener('abort', () => resolve(), { once: true }),
    );
    await Promise.race([this.#transmission?.idle(), late]);
    this.#socket.destroySoon();
    void late.then(() => this.#socket.destroy());
    await this.#over;
  }

  /** Serves what has come in, unless too much waits to go out. */
  #pump(): void {
    if (this.#pumping || this.#graceful || this.#socket.destroyed) return;
    this.#pumping = true;
    try {
      if (this.#mayContinue() && this.#advance() === 'more') this.#socket.resume();
      else if (!this.#graceful) this.#socket.pause();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#close(error.message);
    } finally {
      this.#pumping = false;
    }
  }

  #mayContinue = (): boolean => this.#socket.writableLength < MOST_UNSENT;

  #advance(): 'more' | 'blocked' {
    if (this.#transmission === undefined) {
      const end = this.#handshake.advance(this.#input);
      if (end === undefined) return 'more';
      clearTimeout(this.#timer);
      if (end === 'abort') {
        this.#leave();
        return 'blocked';
      }
      this.#chosen = end.agreed.export;
      const events = { onReady: () => this.#pump(), onCut: () => this.#close('cut by the device') };
      this.#transmission = new Transmission(end.agreed, { write: this.#write }, this.#options.shared, events);
      if (this.#leaving) this.#transmission.shutDown();
      this.#options.onNegotiated(end.agreed.export);
      this.#watch();
    }
    const result = this.#transmission.advance(this.#input, this.#mayContinue);
    if (result !== 'end') return result;
    this.#graceful = true;
    void this.#transmission.idle().then(() => this.#leave());
    return 'blocked';
  }

  #write = (data: Buffer, done: () => void = () => {}): void => {
    if (this.#socket.destroyed) return void done();
    this.#socket.write(data, done);
  };

  #leave(): void {
    this.#graceful = true;
    this.#socket.resume(); // so that its end is seen
    this.#socket.end();
  }

  #close(reason: string): void {
    this.#reason ??= reason;
    // what was written before still leaves
    this.#socket.destroySoon();
  }

  /** A client that takes nothing must not keep others from the memory that its replies hold. */
  #watch(): void {
    const { stallTimeout, shared } = this.#options;
    let seen = this.#socket.bytesWritten - this.#socket.writableLength;
    const timer = setInterval(() => {
      const now = this.#socket.bytesWritten - this.#socket.writableLength;
      const stalled = this.#socket.writableLength > 0 && now === seen;
      if (stalled && shared.budget.contended) {
        this.#reason ??= 'the client took no data for too long';
        this.#socket.destroy();
      }
      seen = now;
    }, stallTimeout);
    timer.unref();
    this.#socket.once('close', () => clearInterval(timer));
  }

  #ended(): void {
    clearTimeout(this.#timer);
    this.#input.clear();
    this.#transmission?.end();
    const reason = this.#reason === undefined ? {} : { reason: this.#reason };
    this.#options.onEnd({ graceful: this.#graceful, ...reason }, this.#chosen);
  }
}
