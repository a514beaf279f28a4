import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Devices that QEMU builds by default and no lab uses: a fifth of the build time. Everything that a machine `pc`,
 * `q35` or `microvm` needs stays, and so do virtio, e1000, IOMMU and the educational and test devices.
 */
const UNUSED = `
  AC97 ADLIB CS4231A ES1370 GUS HDA SB16 VIRTIO_SND
  ATI_VGA BOCHS_DISPLAY QXL VGA_CIRRUS VIRTIO_GPU VIRTIO_VGA VMWARE_VGA
  E1000E_PCI_EXPRESS EEPRO100_PCI IGB_PCI_EXPRESS NE2000_ISA NE2000_PCI PCNET_PCI ROCKER RTL8139_PCI TULIP VMXNET3_PCI
  ESP_PCI LSI_SCSI_PCI MEGASAS_SCSI_PCI MPTSAS_SCSI_PCI NVME_PCI SDHCI_PCI UFS_PCI VMW_PVSCSI_SCSI_PCI
  USB_AUDIO USB_CANOKEY USB_EHCI_PCI USB_HID USB_HUB USB_NETWORK USB_OHCI_PCI USB_SERIAL USB_SMARTCARD
  USB_STORAGE_BOT USB_STORAGE_CLASSIC USB_STORAGE_MTP USB_STORAGE_UAS USB_TABLET_WACOM USB_U2F USB_XHCI_NEC
  USB_XHCI_PCI
  CAN_CTUCANFD CAN_CTUCANFD_PCI CAN_PCI CAN_SJA1000 IPACK IP_OCTAL_232 TPCI200
  IPMI_SSIF ISA_IPMI_BT ISA_IPMI_KCS PCI_IPMI_BT PCI_IPMI_KCS
  HV_BALLOON HYPERV HYPERV_TESTDEV SYNDBG VMBUS XEN_EMU
  CXL CXL_MEM_DEVICE IVSHMEM_DEVICE IVSHMEM_FLAT_DEVICE PXB VFIO VFIO_IGD VFIO_PCI
  AMD_IOMMU APPLESMC NITRO_ENCLAVE SEV SGX SPDM_SOCKET TPM_CRB TPM_TIS_ISA UEFI_VARS
  VIRTIO_CRYPTO VIRTIO_MD VIRTIO_MEM VIRTIO_PMEM WDT_IB6300ESB WDT_IB700
`;

/**
 * The text of a device configuration (`configs/devices/…/lab.mak`) for the tree `src`: all defaults but the unused.
 *
 * Only symbols that this version of QEMU has may be named, and turning off one that something else selects is an
 * error ("contradiction"); both are left alone.
 */
export async function deviceConfig(src: string): Promise<string> {
  const text = await allKconfig(src);
  const defined = new Set([...text.matchAll(/^config (\w+)\s*$/gm)].map(([, name]) => name));
  const selected = new Set([...text.matchAll(/^\s+select (\w+)/gm)].map(([, name]) => name));
  const off = UNUSED.trim()
    .split(/\s+/)
    .filter((name) => defined.has(name) && !selected.has(name));
  // before QEMU 9 the boards are turned on only there
  return ['include default.mak', ...off.map((name) => `CONFIG_${name}=n`), ''].join('\n');
}

async function allKconfig(src: string): Promise<string> {
  const folders = ['hw', 'target', 'accel', 'backends', 'semihosting'];
  const lists = await Promise.all(
    folders.map(async (folder) => {
      const entries = await readdir(join(src, folder), { recursive: true });
      return entries
        .filter((name) => /(^|\/)Kconfig(\.\w+)?$/.test(name))
        .map((name) => join(src, folder, name));
    }),
  );
  const files = [join(src, 'Kconfig.host'), ...lists.flat()];
  return (await Promise.all(files.map((file) => readFile(file, 'utf8')))).join('\n');
}
