export interface RawTerminal {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly size: { readonly rows: number; readonly cols: number };
  /** Calls the listener at every change of the terminal's size, until the returned function is called. */
  readonly onResize: (listener: (rows: number, cols: number) => void) => () => void;
}

/** Gives `use` the terminal with every key passed on unchanged, and restores it whatever happens. */
export async function withRawTerminal<T>(use: (terminal: RawTerminal) => Promise<T>): Promise<T> {
  const { stdin, stdout } = process;
  const onResize: RawTerminal['onResize'] = (listener) => {
    const notify = () => listener(stdout.rows, stdout.columns);
    stdout.on('resize', notify);
    return () => stdout.off('resize', notify);
  };
  if (stdin.isTTY) stdin.setRawMode(true);
  try {
    return await use({
      stdin,
      stdout,
      size: { rows: stdout.rows ?? 24, cols: stdout.columns ?? 80 },
      onResize,
    });
  } finally {
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.pause();
  }
}
