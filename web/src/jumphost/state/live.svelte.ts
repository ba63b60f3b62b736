/** What the jump host tells by itself: the account, its tunnels, and that a list changed. */

import { addSample, type Sample } from '../../lib/traffic';
import { clock } from '../../state/clock.svelte';
import { Following } from '../../state/following.svelte';
import { me } from '../api/calls';
import { server } from '../api/server';
import type { MeView, TunnelsView } from '../api/types';
import { session } from './session.svelte';

/** Three of the comments that the server sends every 15 s. */
const SILENCE = 45_000;

const POLL = 3_000;

class Live {
  #me = $state.raw<MeView | null>(null);
  #tunnels = $state.raw<TunnelsView | null>(null);
  #samples = $state.raw<ReadonlyMap<string, Sample[]>>(new Map());
  #ports = $state(0);
  #directory = $state(0);
  readonly #following = new Following({
    source: { server, path: '/events', silence: SILENCE },
    poll: POLL,
    told: (event, data) => this.#told(event, data),
    ask: () => this.#ask(),
    missed: () => this.#missed(),
  });

  get me(): MeView | null {
    return this.#me;
  }

  get tunnels(): TunnelsView | null {
    return this.#tunnels;
  }

  /** Grows by one each time the registered ports must be fetched again. */
  get ports(): number {
    return this.#ports;
  }

  /** The same for the directory. */
  get directory(): number {
    return this.#directory;
  }

  /** The stream broke, and has not come back yet. */
  get lost(): boolean {
    return this.#following.lost;
  }

  /** The recent totals of a tunnel, for its rate. */
  samples(sessionId: number, port: number): readonly Sample[] {
    return this.#samples.get(`${sessionId}:${port}`) ?? [];
  }

  start(): void {
    this.stop();
    this.#following.start();
  }

  stop(): void {
    this.#following.stop();
    this.#me = null;
    this.#tunnels = null;
    this.#samples = new Map();
  }

  /** Asks at once, after a change of our own: the event says the same a moment later. */
  async refresh(): Promise<void> {
    this.#me = await me.view();
  }

  #told(event: string, data: string): void {
    if (event === 'me') this.#me = JSON.parse(data) as MeView;
    else if (event === 'tunnels') this.#took(JSON.parse(data) as TunnelsView, true);
    else if (event === 'ports') this.#ports += 1;
    else if (event === 'directory') this.#directory += 1;
    else if (event === 'signed-out') session.ended();
  }

  #missed(): void {
    // What went through while nobody listened is in no second of the graph.
    this.#samples = new Map();
    this.#listsChanged();
  }

  #listsChanged(): void {
    this.#ports += 1;
    this.#directory += 1;
  }

  async #ask(): Promise<void> {
    const identity = session.phase;
    const [view, tunnels] = await Promise.all([me.view(), me.tunnels()]);
    // Somebody signed out, or in, meanwhile: what one account saw is not for the next.
    if (session.phase !== identity) return;
    this.#me = view;
    this.#took(tunnels, false);
    this.#listsChanged();
  }

  /** `heard`: the server would have told of every second in which something moved. */
  #took(tunnels: TunnelsView, heard: boolean): void {
    clock.set(tunnels.at);
    const samples = new Map<string, Sample[]>();
    for (const tunnel of tunnels.tunnels) {
      const name = `${tunnel.session}:${tunnel.port}`;
      const total = tunnel.bytes_in + tunnel.bytes_out;
      samples.set(name, addSample(this.#samples.get(name) ?? [], { at: tunnels.at, total }, { heard }));
    }
    this.#samples = samples;
    this.#tunnels = tunnels;
  }
}

export const live = new Live();
