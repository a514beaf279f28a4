import { join } from 'node:path';
import { guestParameters, kernelParameters, netdev } from './network.js';
import type { MachineFiles, MachineSpec } from './spec.js';

/** The descriptor on which QEMU finds the monitor that its launcher holds. */
export const MONITOR_FD = 3;

/** Names of what QEMU creates in the two folders of a machine. */
export const fileNames = {
  console: 'console.log',
  output: 'qemu.log',
  consoleSocket: 'console',
  monitorSocket: 'qmp',
} as const;

/**
 * QEMU's argument list for a machine. Pure: the same spec gives the same list.
 *
 * The order of `-device` is part of the contract: PCI slots, and so BAR addresses, follow from it.
 */
export function qemuArguments(spec: MachineSpec, files: MachineFiles): string[] {
  return [
    ...['-name', `lab-${spec.name}`],
    ...['-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-machine', 'pc', '-m', `${spec.memoryMiB}M`],
    ...acceleration(spec),
    ...spec.qemu.dataDirs.flatMap((dir) => ['-L', dir]),
    ...(spec.profile.bios === undefined ? [] : ['-bios', spec.profile.bios]),
    ...['-kernel', spec.kernel, '-append', kernelCommandLine(spec)],
    ...(spec.initrd === undefined ? [] : ['-initrd', spec.initrd]),
    ...['-vga', spec.profile.vga],
    // As with a real keyboard, the next byte comes a millisecond later: port 0x60 may be read twice until then.
    ...['-global', 'i8042.kbd-throttle=on'],
    ...network(spec),
    ...disk(spec),
    ...spec.profile.before.flatMap((device) => ['-device', device]),
    ...spec.devices.flatMap((device) => ['-device', device]),
    ...lateDisk(spec),
    ...serial(spec, files),
    ...monitors(spec, files),
    ...(spec.sealed?.arguments ?? []),
    ...Object.entries(spec.firmwareFiles).flatMap(([name, file]) => [
      '-fw_cfg',
      `name=opt/lab/${name},file=${comma(file)}`,
    ]),
  ];
}

/** Kernel parameters of a machine, in the order in which they are given. */
export function kernelCommandLine(spec: MachineSpec): string {
  return [
    `root=/dev/${spec.profile.disk === 'ide' ? 'sda' : 'vda'}`,
    ...['rw', 'rootfstype=ext4', 'console=ttyS0'],
    // who judges a kernel wants to see all that it says, from the outside
    `loglevel=${spec.sealed === undefined ? 5 : 7}`,
    ...guestParameters(spec.net),
    `lab.hostname=${spec.name}`,
    ...spec.profile.kernelParameters,
    ...kernelParameters(spec.net),
  ].join(' ');
}

/** SMAP must be there: without it the kernel follows a raw user pointer and nobody notices. */
function acceleration({ accelerator, withoutCpu = [] }: MachineSpec): string[] {
  const model = accelerator === 'kvm' ? 'host' : EMULATED;
  const cpu = [model, ...withoutCpu.map((feature) => `${feature}=off`)].join(',');
  return ['-accel', accelerator, '-cpu', cpu];
}

/** Kernels clear and copy memory with `rep movsb` where the CPU calls that fast; emulated it goes byte by byte. */
const EMULATED = 'max,erms=off,fsrm=off';

function network({ profile, net, sealed }: MachineSpec): string[] {
  const model = profile.nic === 'e1000' ? 'e1000' : 'virtio-net-pci';
  const end =
    sealed === undefined
      ? netdev(net)
      : `user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:${sealed.sshPort}-:22`;
  return [...['-netdev', end], ...['-device', `${model},netdev=net0,romfile=`]];
}

function disk({ profile, disk }: MachineSpec): string[] {
  const drive = ['-drive', `file=${comma(disk)},if=none,id=disk0,format=qcow2,discard=unmap`];
  return profile.disk === 'ide' ? [...drive, '-device', 'ide-hd,drive=disk0'] : drive;
}

/** A virtio disk is a PCI device: it comes after the lab's own, whose BARs then stay where they are. */
function lateDisk({ profile }: MachineSpec): string[] {
  return profile.disk === 'virtio' ? ['-device', 'virtio-blk-pci,drive=disk0'] : [];
}

function serial({ sealed }: MachineSpec, { dir, sockets }: MachineFiles): string[] {
  if (sealed !== undefined) {
    const path = comma(join(dir, fileNames.console));
    return ['-chardev', `file,id=console,path=${path},append=on`, '-serial', 'chardev:console'];
  }
  const log = `logfile=${comma(join(dir, fileNames.console))},logappend=off`;
  const path = comma(join(sockets, fileNames.consoleSocket));
  return [
    ...['-chardev', `socket,id=console,path=${path},server=on,wait=off,${log}`],
    ...['-serial', 'chardev:console'],
  ];
}

function monitors({ sealed }: MachineSpec, { sockets }: MachineFiles): string[] {
  const path = comma(join(sockets, fileNames.monitorSocket));
  const launcher = [
    ...['-chardev', `socket,id=launcher,fd=${MONITOR_FD}`],
    ...['-mon', 'chardev=launcher,mode=control'],
  ];
  if (sealed !== undefined) return launcher;
  return [
    ...launcher,
    ...['-chardev', `socket,id=qmp,path=${path},server=on,wait=off`],
    ...['-mon', 'chardev=qmp,mode=control'],
  ];
}

/** QEMU's option syntax doubles a comma that belongs to a value. */
function comma(value: string): string {
  return value.replaceAll(',', ',,');
}
