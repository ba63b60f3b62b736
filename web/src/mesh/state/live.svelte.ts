/** What the mesh agent shows, as it tells by itself: each event is the whole. */

import type { ApiError } from '../../api/client';
import { Following } from '../../state/following.svelte';
import { Resource } from '../../state/resource.svelte';
import { dashboard } from '../api/calls';
import { server } from '../api/server';
import type { Dashboard, ForwardRoute } from '../api/types';
import type { Shown } from '../lib/services';

/** Two of the comments that the agent sends every 5 s, and some: a frozen agent is not shown as a living one for longer. */
const SILENCE = 12_000;

/** How often to ask while the stream is down, and again after an answer that did not come. */
const POLL = 5_000;

class Live {
  #board = $state.raw<Dashboard | null>(null);
  readonly #asked = new Resource(dashboard);
  readonly #following = new Following({
    source: { server, path: '/events', silence: SILENCE },
    poll: POLL,
    told: (event, data) => {
      if (event === 'dashboard') this.#board = JSON.parse(data) as Dashboard;
    },
    ask: () => this.#ask(),
    // The first event of a stream is the whole: nothing was missed.
    missed: () => undefined,
  });

  /** What it said last; null until it has said something. */
  get board(): Dashboard | null {
    return this.#board;
  }

  /** Why the last question had no answer. */
  get error(): ApiError | null {
    return this.#asked.error;
  }

  /** The stream broke, and has not come back yet. */
  get lost(): boolean {
    return this.#following.lost;
  }

  /** The agent is there: what is shown is how it stands. */
  get current(): boolean {
    return this.#following.current;
  }

  /** How a listener and an endpoint stand; when the agent is gone, nobody knows. */
  state(of: ForwardRoute): Shown {
    return this.current ? of.state : 'unknown';
  }

  start(): void {
    this.#following.start();
  }

  stop(): void {
    this.#following.stop();
    this.#board = null;
  }

  async #ask(): Promise<void> {
    await this.#asked.load();
    if (this.#asked.error) throw this.#asked.error;
    this.#board = this.#asked.value;
  }
}

export const live = new Live();
