/** One line of the record of what was done in a guest; each can be written as a line of JSON. */
export type GuestEvent = {
  /** ISO 8601, host time. */
  readonly at: string;
} & GuestAction;

export type GuestAction =
  | {
      readonly type: 'connect';
      readonly host: string;
      readonly port: number;
      readonly user: string;
      /** Milliseconds. */
      readonly duration: number;
    }
  | { readonly type: 'no-connection'; readonly code: string; readonly fact: string }
  | { readonly type: 'start'; readonly id: number; readonly command: string }
  | ({
      readonly type: 'end';
      readonly id: number;
      readonly duration: number;
    } & EndOfCommand)
  | {
      readonly type: 'put' | 'get';
      readonly to: readonly string[];
      readonly bytes: number;
      readonly duration: number;
    }
  | { readonly type: 'close'; readonly code: string; readonly fact: string };

/** How a command ended; `stdout` and `stderr` are their last 4096 characters. */
export type EndOfCommand =
  | {
      readonly exitCode: number;
      readonly signal?: string;
      readonly stdout?: string;
      readonly stderr?: string;
    }
  | { readonly code: string; readonly fact: string };

/** Receives the events. Must neither throw nor block. */
export type Transcript = (event: GuestEvent) => void;

export function record(transcript: Transcript | undefined, action: GuestAction): void {
  transcript?.({ at: new Date().toISOString(), ...action });
}
