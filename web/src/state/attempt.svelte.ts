/** One thing a person asked for: whether it is under way, and what went wrong the last time. */

import { ApiError } from '../api/client';

export class Attempt {
  #busy = $state(false);
  #error = $state.raw<ApiError | null>(null);

  get busy(): boolean {
    return this.#busy;
  }

  get error(): ApiError | null {
    return this.#error;
  }

  /** Does it, and tells whether it worked. A second press while the first is under way does nothing. */
  async run(work: () => Promise<void>): Promise<boolean> {
    if (this.#busy) return false;
    this.#busy = true;
    this.#error = null;
    try {
      await work();
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#error = error;
      return false;
    } finally {
      this.#busy = false;
    }
  }

  clear(): void {
    this.#error = null;
  }
}
