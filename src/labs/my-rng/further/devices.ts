/** A my_rng of the variant `further`, besides the basic one that is always first. */
export interface FurtherDevice {
  /** QEMU's id. */
  readonly id: string;
  /** Name of its node in `/dev`. */
  readonly name: string;
  readonly node: string;
  readonly algorithm: string;
  readonly interrupt: 'MSI' | 'INTx';
  /** For QEMU's `-device`. */
  readonly argument: string;
}

/** The node of the basic device. */
export const BASIC_NODE = '/dev/my_rng0';

/** Two that differ in their interrupt alone. */
export const MSI = device(1, 'rng-msi', 'libc', 'MSI');
export const INTX = device(2, 'rng-intx', 'libc', 'INTx');

/** In the order of their PCI addresses, which is that of their nodes. */
export const FURTHER_DEVICES: readonly FurtherDevice[] = [
  MSI,
  INTX,
  ...['xorshift64star', 'pcg32', 'mt19937'].map((algorithm, i) =>
    device(3 + i, `rng-${algorithm}`, algorithm, 'MSI'),
  ),
];

function device(
  index: number,
  id: string,
  algorithm: string,
  interrupt: FurtherDevice['interrupt'],
): FurtherDevice {
  const argument = [
    `my_rng,id=${id},extended=on`,
    ...(interrupt === 'MSI' ? [] : ['msi=off']),
    ...(algorithm === 'libc' ? [] : [`algorithm=${algorithm}`]),
  ].join(',');
  const name = `my_rng${index}`;
  return { id, name, node: `/dev/${name}`, algorithm, interrupt, argument };
}
