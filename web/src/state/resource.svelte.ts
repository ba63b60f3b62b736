/** Something fetched, kept while it is fetched again. */

import { ApiError } from '../api/client';

export class Resource<Value> {
  #value = $state.raw<Value | null>(null);
  #error = $state.raw<ApiError | null>(null);
  #turn = 0;
  readonly #fetch: () => Promise<Value>;

  constructor(fetch: () => Promise<Value>) {
    this.#fetch = fetch;
  }

  /** The last answer; it stays when a later request fails, with the error beside it. */
  get value(): Value | null {
    return this.#value;
  }

  get error(): ApiError | null {
    return this.#error;
  }

  async load(): Promise<void> {
    this.#turn += 1;
    const turn = this.#turn;
    try {
      const value = await this.#fetch();
      // A slow answer to an earlier question must not replace the answer to a later one.
      if (turn !== this.#turn) return;
      this.#value = value;
      this.#error = null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (turn === this.#turn) this.#error = error;
    }
  }
}
