/** How a machine is connected: part of its spec, data only. */
export type Network = UserNetwork | TapNetwork;

/** QEMU's own network stack: needs no rights, the guest cannot be reached except through one forwarded port. */
export interface UserNetwork {
  readonly kind: 'user';
  /** Host port forwarded to the guest's port 22; 0 lets QEMU choose one. */
  readonly sshPort: number;
}

/** A network device of the host whose other end is the guest's network card. */
export interface TapNetwork {
  readonly kind: 'tap';
  readonly device: string;
  /**
   * True: QEMU creates the device, which goes with it, and we give it an address and NAT. False: an administrator
   * made it for this user, with its address; nothing is set up and nothing undone.
   */
  readonly ours: boolean;
}

/** The device that we create. One at a time: its addresses are fixed. */
export const OUR_TAP = 'lab-tap';

interface Addresses {
  readonly host: string;
  readonly guest: string;
}

const PREFIX = 24;
const NETMASK = '255.255.255.0';

/** IPv4 addresses at the two ends of a tap device, and their network. The exercise fixes them. */
export const tapAddresses = {
  host: '10.0.2.1',
  guest: '10.0.2.100',
  prefix: PREFIX,
  subnet: `10.0.2.0/${PREFIX}`,
} as const;

/** Where the guest's SSH server is found; the port of user mode is known only once QEMU runs. */
export const TAP_SSH = { host: tapAddresses.guest, port: 22 } as const;

/** QEMU's `-netdev` argument for a machine that is not sealed. */
export function netdev(net: Network): string {
  if (net.kind === 'user') return `user,id=net0,hostfwd=tcp:127.0.0.1:${net.sshPort}-:22`;
  return `tap,id=net0,ifname=${net.device},script=no,downscript=no`;
}

/** What the guest's own start reads. */
export function guestParameters(net: Network): string[] {
  const { host, guest } = addressesOf(net);
  return [`lab.ip=${guest}/${PREFIX}`, `lab.gw=${host}`];
}

/** What the kernel reads, which opens the interface sooner than any program could. */
export function kernelParameters(net: Network): string[] {
  const { host, guest } = addressesOf(net);
  return [`ip=${guest}::${host}:${NETMASK}::eth0:off`];
}

function addressesOf({ kind }: Network): Addresses {
  return kind === 'tap' ? tapAddresses : { host: '10.0.2.2', guest: '10.0.2.15' };
}
