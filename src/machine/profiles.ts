import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { LabError } from '../errors.js';
import { nearest } from '../host/nearest.js';
import { packageRoot } from '../host/paths.js';
import type { Profile } from './spec.js';

const schema = z.strictObject({
  summary: z.string(),
  disk: z.enum(['ide', 'virtio']),
  nic: z.enum(['e1000', 'virtio']),
  vga: z.enum(['std', 'none']),
  before: z.array(z.string()),
  bios: z.string().optional(),
  kernelParameters: z.array(z.string()),
  kernelFragments: z.array(z.string()).default([]),
  qemuSanitizers: z.boolean().default(false),
});

const folder = join(packageRoot, 'vm/profiles');

/** Names of the machine profiles: the files of `vm/profiles/`. */
export function profileNames(): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length))
    .sort();
}

/**
 * Reads one machine profile.
 *
 * @throws LabError `profile/unknown` listing the known ones, `profile/invalid` naming the field.
 */
export function loadProfile(name: string): Profile {
  const names = profileNames();
  if (!names.includes(name)) throw unknown(name, names);
  const file = join(folder, `${name}.json`);
  const parsed = schema.safeParse(JSON.parse(readFileSync(file, 'utf8')));
  if (!parsed.success) {
    throw new LabError({
      code: 'profile/invalid',
      blame: 'user',
      fact: `the machine profile ${file} is not valid`,
      evidence: z.prettifyError(parsed.error).split('\n'),
      next: 'correct the file',
    });
  }
  const { bios, ...rest } = parsed.data;
  return { name, ...rest, ...(bios === undefined ? {} : { bios }) };
}

function unknown(name: string, names: string[]): LabError {
  const near = nearest(name, names);
  return new LabError({
    code: 'profile/unknown',
    blame: 'user',
    fact: `there is no machine profile called ${name}`,
    evidence: [`known: ${names.join(', ')}`],
    next: near === undefined ? 'choose one of the known profiles' : `did you mean ${near}?`,
  });
}
