/**
 * Shell words that print two lines: KiB of memory that the kernel uses for itself, and KiB of slab, which are among them.
 * Programs and files are not: they come and go by megabytes. MemFree lacks the free pages that a CPU keeps for itself,
 * among them most of what was allocated in single pages. And wherever a module's code comes to lie for the first time,
 * the kernel maps 2 MiB of memory page by page from then on, which costs it a page for good and is nobody's leak.
 */
export const SHOW_MEMORY = [
  'sync; echo 3 >/proc/sys/vm/drop_caches; echo 3 >/proc/sys/vm/drop_caches;',
  "awk '/^ +count:/ { kernel -= 4 * $2 } /^MemTotal:/ { kernel += $2 } /^Slab:/ { slab = $2 }",
  '/^(MemFree|AnonPages|Cached|Buffers|PageTables|KernelStack):/ { kernel -= $2 } /^DirectMap4k:/ { kernel -= $2 / 512 }',
  "END { print int(kernel); print slab }' /proc/zoneinfo /proc/meminfo",
].join(' ');
