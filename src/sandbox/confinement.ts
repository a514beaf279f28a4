let confined = true;

/**
 * From now on nothing is confined: for debugging. One switch for the whole process, so that no part of a grading can
 * be confined while another is not, and the report says the truth about all of it.
 */
export function allowUnconfined(): void {
  confined = false;
}

/** Whether code of submissions is confined. */
export function isConfined(): boolean {
  return confined;
}
