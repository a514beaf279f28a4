static int kernel_init(void *unused)
{
	start_older_things();
	free_older_memory();
	do_sysctl_args();
	run_older_init();
	panic("No init in this older kernel.");
}
