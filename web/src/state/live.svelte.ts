/**
 * What the server tells by itself: the account, its tunnels, and that a list changed. A stream of events, and requests every few
 * seconds while the stream is down, so that what the page shows stays true.
 */

import { me } from '../api/calls';
import { ApiError } from '../api/client';
import { listen } from '../api/events';
import type { MeView, TunnelsView } from '../api/types';
import { addSample, type Sample } from '../lib/traffic';
import { clock } from './clock.svelte';
import { session } from './session.svelte';

/** How often to ask while the stream is down, and how soon to try the stream again. */
const POLL = 3_000;

/**
 * A hidden tab lets its stream go after this long: a browser opens six connections to a host at most (HTTP/1.1), and a stream
 * holds one, so a few forgotten tabs would leave none for the tab in front.
 */
const HIDDEN_GRACE = 10_000;

class Live {
  #me = $state.raw<MeView | null>(null);
  #tunnels = $state.raw<TunnelsView | null>(null);
  #samples = $state.raw<ReadonlyMap<string, Sample[]>>(new Map());
  #ports = $state(0);
  #directory = $state(0);
  #lost = $state(false);
  /** Nobody listened for a while, so lists may be out of date. */
  #deaf = false;
  #stream: AbortController | null = null;
  #retry: ReturnType<typeof setTimeout> | null = null;
  #hide: ReturnType<typeof setTimeout> | null = null;
  #running = false;

  constructor() {
    document.addEventListener('visibilitychange', () => this.#visibility());
  }

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
    return this.#lost;
  }

  /** The recent totals of a tunnel, for its rate. */
  samples(sessionId: number, port: number): readonly Sample[] {
    return this.#samples.get(`${sessionId}:${port}`) ?? [];
  }

  start(): void {
    this.stop();
    this.#running = true;
    this.#open();
  }

  stop(): void {
    this.#running = false;
    this.#close();
    if (this.#retry !== null) clearTimeout(this.#retry);
    if (this.#hide !== null) clearTimeout(this.#hide);
    this.#retry = null;
    this.#hide = null;
    this.#me = null;
    this.#tunnels = null;
    this.#samples = new Map();
    this.#lost = false;
    this.#deaf = false;
  }

  /** Asks at once, after a change of our own: the event says the same a moment later. */
  async refresh(): Promise<void> {
    this.#me = await me.view();
  }

  #open(): void {
    // Somebody may have come back to the tab while the last round of asking was still under way.
    this.#close();
    const stream = new AbortController();
    this.#stream = stream;
    const opened = () => {
      this.#lost = false;
      // What changed meanwhile was not told.
      if (this.#deaf) this.#listsChanged();
      this.#deaf = false;
    };
    listen(stream.signal, { opened, told: (event, data) => this.#told(event, data) }).catch((error: unknown) => {
      if (!(error instanceof ApiError)) throw error;
      if (this.#stream !== stream) return;
      this.#close();
      this.#lost = true;
      void this.#poll();
    });
  }

  #told(event: string, data: string): void {
    if (event === 'me') this.#me = JSON.parse(data) as MeView;
    else if (event === 'tunnels') this.#took(JSON.parse(data) as TunnelsView);
    else if (event === 'ports') this.#ports += 1;
    else if (event === 'directory') this.#directory += 1;
    else if (event === 'signed-out') session.ended();
  }

  #listsChanged(): void {
    this.#ports += 1;
    this.#directory += 1;
  }

  #close(): void {
    if (this.#stream === null) return;
    this.#stream.abort();
    this.#stream = null;
    this.#deaf = true;
  }

  /** One round while the stream is down: ask, wait, try the stream. */
  async #poll(): Promise<void> {
    try {
      const [view, tunnels] = await Promise.all([me.view(), me.tunnels()]);
      if (!this.#running) return;
      this.#me = view;
      this.#took(tunnels);
      this.#listsChanged();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      // The banner says it already; a session that ended is told by the client.
    }
    if (!this.#running) return;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      // A hidden tab tries again when somebody looks at it.
      if (!document.hidden) this.#open();
    }, POLL);
  }

  #took(tunnels: TunnelsView): void {
    clock.set(tunnels.at);
    const samples = new Map<string, Sample[]>();
    for (const tunnel of tunnels.tunnels) {
      const name = `${tunnel.session}:${tunnel.port}`;
      const total = tunnel.bytes_in + tunnel.bytes_out;
      samples.set(name, addSample(this.#samples.get(name) ?? [], { at: tunnels.at, total }));
    }
    this.#samples = samples;
    this.#tunnels = tunnels;
  }

  #visibility(): void {
    if (!this.#running) return;
    if (document.hidden) {
      this.#hide = setTimeout(() => this.#close(), HIDDEN_GRACE);
      return;
    }
    if (this.#hide !== null) clearTimeout(this.#hide);
    this.#hide = null;
    if (this.#stream === null && this.#retry === null) this.#open();
  }
}

export const live = new Live();
