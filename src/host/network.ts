import { readFile, writeFile } from 'node:fs/promises';
import type { Timeouts } from '../timeouts.js';
import { type RunResult, run } from './run.js';

export interface ToolContext {
  readonly timeouts: Timeouts;
  readonly signal?: AbortSignal | undefined;
}

/** Runs ip(8) and reads its JSON; an object that does not exist gives an empty list. */
export async function ipJson(args: readonly string[], context: ToolContext): Promise<unknown[]> {
  const { stdout, exitCode } = await administer('ip', ['-j', ...args], context, { accept: [0, 1] });
  return exitCode === 0 && stdout.trim() !== '' ? JSON.parse(stdout) : [];
}

/** Runs several commands of ip(8), given without its name, up to the first that fails. */
export async function ipBatch(commands: readonly string[], context: ToolContext): Promise<void> {
  await administer('ip', ['-batch', '-'], context, { input: `${commands.join('\n')}\n` });
}

/** Runs nft(8); `input` is what `-f -` reads. */
export async function nft(
  args: readonly string[],
  context: ToolContext,
  more: { readonly input?: string; readonly accept?: readonly number[] } = {},
): Promise<RunResult> {
  return await administer('nft', args, context, more);
}

/** Whether this network namespace forwards IPv4 packets between its interfaces. */
export const IP_FORWARD = '/proc/sys/net/ipv4/ip_forward';

export async function readIpForward(): Promise<'0' | '1'> {
  return (await readFile(IP_FORWARD, 'utf8')).trim() === '0' ? '0' : '1';
}

export async function writeIpForward(value: '0' | '1'): Promise<void> {
  await writeFile(IP_FORWARD, value);
}

/** The folders of administrators' programs are not on everybody's PATH. */
async function administer(
  program: string,
  args: readonly string[],
  { timeouts, signal }: ToolContext,
  more: { readonly input?: string; readonly accept?: readonly number[] },
): Promise<RunResult> {
  const env = { PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin`, LC_ALL: 'C' };
  return await run(program, args, { env, signal, timeout: timeouts.hostTool, ...more });
}
