/** Lines of the kernel log, or of anything mixed with it, without their time stamps. */
export function messages(dmesg: string): string[] {
  return dmesg.split('\n').map((line) => line.replace(/^\[[ \d.]+\] /, ''));
}

/** Why a check of the loadable module does not apply to a run. */
export function noModule({ variant }: { readonly variant: string }): string | undefined {
  return variant === 'built-in' ? 'the driver is part of the kernel' : undefined;
}
