/** Memory that the connections of one server share for what is large. Whoever has to wait is served in order. */
export class Budget {
  readonly #limit: number;
  #used = 0;
  readonly #waiting: { readonly bytes: number; readonly go: () => void }[] = [];

  /** @param limit bytes. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether somebody waits for memory that others hold. */
  get contended(): boolean {
    return this.#waiting.length > 0;
  }

  /** Takes `bytes` at once, or returns false. */
  tryTake(bytes: number): boolean {
    if (this.contended || !this.#fits(bytes)) return false;
    this.#used += bytes;
    return true;
  }

  /** Takes `bytes` later and calls `go` then. Returns what gives up waiting. */
  wait(bytes: number, go: () => void): () => void {
    const entry = { bytes, go };
    this.#waiting.push(entry);
    return () => {
      const at = this.#waiting.indexOf(entry);
      if (at !== -1) this.#waiting.splice(at, 1);
    };
  }

  give(bytes: number): void {
    this.#used -= bytes;
    for (let [next] = this.#waiting; next !== undefined && this.#fits(next.bytes); [next] = this.#waiting) {
      this.#waiting.shift();
      this.#used += next.bytes;
      next.go();
    }
  }

  /** Whatever is asked for, it is given when nobody holds anything. */
  #fits(bytes: number): boolean {
    return this.#used === 0 || this.#used + bytes <= this.#limit;
  }
}
