/** A long list, of which one page at a time is fetched: neither the server nor the browser touches the rest. */

import type { ApiError } from '../api/client';
import { Resource } from './resource.svelte';

/** Which part of a long list is wanted: what `q` finds, from the `offset`th on, `limit` at most. */
export type Window = { q: string; offset: number; limit: number };

export interface Page<Item> {
  total: number;
  items: Item[];
}

export class Paged<Item, View extends Page<Item>> {
  readonly limit = 50;
  #sought = $state('');
  #offset = $state(0);
  readonly #found: Resource<{ sought: string; view: View }>;

  constructor(fetch: (window: Window) => Promise<View>) {
    this.#found = new Resource(async () => {
      const sought = this.#sought;
      return { sought, view: await fetch({ q: sought, offset: this.#offset, limit: this.limit }) };
    });
  }

  get view(): View | null {
    return this.#found.value?.view ?? null;
  }

  get error(): ApiError | null {
    return this.#found.error;
  }

  /** Nothing to be seen, and nothing to be searched for. */
  get empty(): boolean {
    return this.#found.value?.sought === '' && this.view?.total === 0;
  }

  get sought(): string {
    return this.#sought;
  }

  get offset(): number {
    return this.#offset;
  }

  search(text: string): void {
    this.#sought = text;
    this.#offset = 0;
  }

  go(offset: number): void {
    this.#offset = offset;
  }

  async load(): Promise<void> {
    await this.#found.load();
    // A page that emptied while somebody looked at it gives way to the last one there is.
    const total = this.view?.total ?? 0;
    if (this.#offset > 0 && this.#offset >= total) {
      this.#offset = Math.max(0, Math.ceil(total / this.limit) - 1) * this.limit;
    }
  }
}
