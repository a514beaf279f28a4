let confined = true;

/**
 * From now on nothing is confined, in this whole process: for finding out whether the jail itself is at fault.
 *
 * It is one switch for the process, and cannot be taken back, so that no grading can run half of a submission in a
 * jail and the other half outside: whoever asks `isConfined()` for the report gets the answer for all of it.
 */
export function allowUnconfined(): void {
  confined = false;
}

/** Whether code of submissions runs in jails. */
export function isConfined(): boolean {
  return confined;
}
