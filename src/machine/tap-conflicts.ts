import { z } from 'zod';
import { OUR_TAP } from './network.js';

const routeSchema = z.object({ dst: z.string(), dev: z.string().optional(), type: z.string().optional() });

/** A route as `ip -j -4 route show table all` prints it. */
export type Route = z.infer<typeof routeSchema>;

/**
 * The routes of a host that lead into `subnet` (`a.b.c.d/n`), as text. Default routes, whole or in two halves as VPNs
 * add them, lead everywhere and do not count.
 */
export function conflictingRoutes(routes: readonly unknown[], subnet: string): string[] {
  const wanted = range(subnet);
  return routes
    .map((route) => routeSchema.parse(route))
    .filter(({ dst, type }) => dst !== 'default' && type !== 'broadcast' && type !== 'multicast')
    .filter(({ dst }) => overlap(range(dst), wanted))
    .map(
      ({ dst, dev, type }) =>
        `${type === undefined ? '' : `${type} `}${dst}${dev === undefined ? '' : ` dev ${dev}`}`,
    );
}

interface Range {
  readonly first: number;
  readonly size: number;
}

function range(text: string): Range {
  const [address = '', prefix = '32'] = text.split('/');
  const size = 2 ** (32 - Number(prefix));
  const number = address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);
  return { first: Math.floor(number / size) * size, size };
}

const HALF = 2 ** 31;

function overlap(a: Range, b: Range): boolean {
  return a.size < HALF && a.first < b.first + b.size && b.first < a.first + a.size;
}

const chainsSchema = z.object({
  nftables: z.array(
    z.object({
      chain: z
        .object({
          family: z.string(),
          table: z.string(),
          name: z.string(),
          hook: z.string().optional(),
          policy: z.string().optional(),
        })
        .optional(),
    }),
  ),
});

/**
 * Chains of others, in what `nft -j list chains` prints, that drop what they do not know when it is forwarded: no
 * rule of ours can make up for it.
 */
export function foreignDrops(listing: unknown): string[] {
  return chainsSchema
    .parse(listing)
    .nftables.flatMap(({ chain }) => (chain === undefined ? [] : [chain]))
    .filter(({ table, hook, policy }) => table !== OUR_TAP && hook === 'forward' && policy === 'drop')
    .map(
      ({ family, table, name }) => `the chain ${name} of the nft table ${family} ${table} drops by default`,
    );
}
