/** Something fetched, kept while it is fetched again. */

import { ApiError } from '../api/client';

export class Resource<Value> {
  #value = $state.raw<Value | null>(null);
  #error = $state.raw<ApiError | null>(null);
  #asked = 0;
  #answered = 0;
  #round: Promise<void> | null = null;
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

  /**
   * Fetches it, and resolves with an answer to a request that left after this call. One request is under way at a time: on a slow line
   * those who ask meanwhile share the next one, and each answer is shown.
   */
  async load(): Promise<void> {
    this.#asked += 1;
    const turn = this.#asked;
    while (this.#answered < turn) await (this.#round ??= this.#ask());
  }

  async #ask(): Promise<void> {
    const upTo = this.#asked;
    try {
      this.#value = await this.#fetch();
      this.#error = null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#error = error;
    } finally {
      this.#answered = upTo;
      this.#round = null;
    }
  }
}
