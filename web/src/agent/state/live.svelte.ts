/** What the agent has and how it stands, as it tells by itself: tunnels, sessions, host keys to be judged, and every saved record. */

import { ApiError } from '../../api/client';
import { addSample, type Sample } from '../../lib/traffic';
import { Following } from '../../state/following.svelte';
import * as calls from '../api/calls';
import { server } from '../api/server';
import type {
  JumpHostView,
  ProfileView,
  SecretsView,
  SessionRow,
  SessionState,
  SettingsView,
  Status,
  TunnelRow,
  TunnelState,
  UnknownHost,
} from '../api/types';
import { spec } from '../lib/forward';
import type { Shown } from '../lib/status';

/** Two of the comments that the agent sends every 5 s, and some: a frozen agent is not shown as a living one for longer. */
const SILENCE = 12_000;

const POLL = 5_000;

/** What a tunnel carried lately: both ways, and together. */
export interface Rates {
  tx: readonly Sample[];
  rx: readonly Sample[];
  both: readonly Sample[];
}

const NONE: Rates = { tx: [], rx: [], both: [] };

/** What the detail page shows; the small graphs look at the last minute of it. */
export const RATE_WINDOW = 300_000;

/** A tunnel of the list, with what this page works out of it. */
export interface Tunnel extends TunnelRow {
  status: Status;
  spec: string;
  /** By this machine's clock, which the agent's is; null while it is not connected. */
  connectedSince: number | null;
}

export interface Everything {
  tunnels: readonly Tunnel[];
  sessions: readonly SessionRow[];
  profiles: readonly ProfileView[];
  jumpHosts: readonly JumpHostView[];
  hosts: readonly UnknownHost[];
  settings: SettingsView;
  secrets: SecretsView;
}

class Live {
  #all = $state.raw<Everything | null>(null);
  #rates = $state.raw<ReadonlyMap<string, Rates>>(new Map());
  #error = $state.raw<ApiError | null>(null);
  /** Each look at the lists has a turn: an older answer must not overtake a newer one. */
  #asked = 0;
  #shown = 0;
  /**
   * What the stream told last, by event. How things stand is its word alone while it lasts: it says nothing when something changed and
   * changed back, so a list that was answered in between would stay.
   */
  readonly #heard = new Map<string, string>();
  readonly #following = new Following({
    source: { server, path: '/events', silence: SILENCE },
    poll: POLL,
    told: (event, data) => this.#told(event, data),
    ask: () => this.#askInstead(),
    missed: () => void this.#again(),
  });

  /** Everything; null until the agent has said it once. */
  get all(): Everything | null {
    return this.#all;
  }

  /** Why the last look at everything failed. */
  get error(): ApiError | null {
    return this.#error;
  }

  get tunnels(): readonly Tunnel[] {
    return this.#all?.tunnels ?? [];
  }

  /** The saved ones. */
  get saved(): readonly Tunnel[] {
    return this.tunnels.filter((tunnel) => tunnel.session_id == null);
  }

  /** Those that come and go with a session. */
  get ofSessions(): readonly Tunnel[] {
    return this.tunnels.filter((tunnel) => tunnel.session_id != null);
  }

  /** Something else is the way out: there is neither a Tunnels button nor a choice of a jump. */
  get controllerMode(): boolean {
    return this.#all?.settings.controller_mode ?? false;
  }

  /** The stream broke, and has not come back yet. */
  get lost(): boolean {
    return this.#following.lost;
  }

  /** The agent is there: what is shown is how it stands. */
  get current(): boolean {
    return this.#following.current;
  }

  /** How it stands; when the agent is gone, nobody knows. */
  status(of: { status: string }): Shown {
    return this.current ? (of.status as Status) : 'unknown';
  }

  rates(id: string): Rates {
    return this.#rates.get(id) ?? NONE;
  }

  start(): void {
    this.stop();
    this.#following.start();
  }

  stop(): void {
    this.#following.stop();
    this.#heard.clear();
    this.#all = null;
    this.#error = null;
    this.#rates = new Map();
  }

  /** Asks for everything, at once. Fails with `ApiError`. */
  async refresh(): Promise<void> {
    this.#asked += 1;
    const turn = this.#asked;
    const [tunnels, sessions, profiles, jumpHosts, hosts, settings, secrets] = await Promise.all([
      calls.tunnels.list(),
      calls.sessions.list(),
      calls.profiles.list(),
      calls.jumpHosts.list(),
      calls.hosts.unknown(),
      calls.settings.view(),
      calls.secrets.view(),
    ]);
    if (turn < this.#shown) return;
    this.#shown = turn;
    if (this.lost) this.#sample(tunnels);
    const rows = tunnels.map((row) => this.#row({ ...row, spec: row.spec ?? spec(row) }, row));
    this.#all = { tunnels: rows, sessions, profiles, jumpHosts, hosts, settings, secrets };
    this.#error = null;
    for (const [event, data] of this.#heard) this.#take(event, data);
  }

  /** After an order: the stream tells what became of it, and where there is none the lists do. */
  async settle(): Promise<void> {
    if (this.lost) await this.refresh();
  }

  async #askInstead(): Promise<void> {
    this.#heard.clear();
    await this.refresh();
  }

  /** The same, where nobody waits for it. */
  async #again(): Promise<void> {
    try {
      await this.refresh();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#error = error;
    }
  }

  #told(event: string, data: string): void {
    if (event === 'records') {
      void this.#again();
      return;
    }
    const before = this.#all?.tunnels;
    this.#heard.set(event, data);
    this.#take(event, data);
    if (event !== 'tunnels') return;
    const states = JSON.parse(data) as TunnelState[];
    this.#sample(states);
    // What the list also says, the short form and the port that a server chose, is not in the event.
    if (states.some(({ id, status }) => before?.find((row) => row.id === id)?.status !== status)) void this.#again();
  }

  #take(event: string, data: string): void {
    if (event === 'tunnels') this.#tookTunnels(JSON.parse(data) as TunnelState[]);
    else if (event === 'sessions') this.#tookSessions(JSON.parse(data) as Record<string, SessionState>);
    else if (event === 'hosts') this.#patch({ hosts: JSON.parse(data) as UnknownHost[] });
  }

  #patch(change: Partial<Everything>): void {
    if (this.#all) this.#all = { ...this.#all, ...change };
  }

  #tookTunnels(states: TunnelState[]): void {
    if (!this.#all) return;
    const now = new Map(states.map((state) => [state.id, state]));
    const known = this.#all.tunnels;
    const rows = known.flatMap((row) => {
      const state = now.get(row.id);
      // One of a session is gone with it; a saved one is in the next list, or not.
      if (!state) return row.session_id == null ? [row] : [];
      return [this.#row(row, state)];
    });
    this.#patch({ tunnels: rows });
  }

  #tookSessions(states: Record<string, SessionState>): void {
    const none: SessionState = { status: 'disconnected', uptime_secs: 0, last_error: null };
    const sessions = this.#all?.sessions.map((row) => ({ ...row, ...(states[row.id] ?? none) }));
    if (sessions) this.#patch({ sessions });
  }

  /** The agent tells how long it has been; the page counts on, and a second's rounding does not make it jump. */
  #row(row: Omit<Tunnel, 'connectedSince' | 'status'>, state: Omit<TunnelState, 'id'>): Tunnel {
    const before = this.#all?.tunnels.find(({ id }) => id === row.id)?.connectedSince ?? null;
    const since = Date.now() - state.uptime_secs * 1_000;
    const same = before !== null && Math.abs(before - since) < 2_000;
    const connectedSince = state.status === 'connected' ? (same ? before : since) : null;
    return { ...row, ...state, status: state.status as Status, connectedSince };
  }

  #sample(states: readonly TunnelState[]): void {
    const at = Date.now();
    const next = new Map<string, Rates>();
    for (const { id, bytes_tx, bytes_rx } of states) {
      const { tx, rx, both } = this.rates(id);
      const add = (samples: readonly Sample[], total: number) => addSample(samples, { at, total }, RATE_WINDOW);
      next.set(id, { tx: add(tx, bytes_tx), rx: add(rx, bytes_rx), both: add(both, bytes_tx + bytes_rx) });
    }
    this.#rates = next;
  }
}

export const live = new Live();
