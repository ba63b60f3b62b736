/** What the agent has and how it stands, as it tells by itself: tunnels, sessions, host keys to be judged, and every saved record. */

import { ApiError } from '../../api/client';
import { addSample, type Sample } from '../../lib/traffic';
import { Following } from '../../state/following.svelte';
import { Resource } from '../../state/resource.svelte';
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
import { unchanged } from '../lib/unchanged';

/** Two of the comments that the agent sends every 5 s, and some: a frozen agent is not shown as a living one for longer. */
const SILENCE = 12_000;

/** How often to ask while the stream is down, and again after an answer that did not come. */
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
  /** By this browser's clock: the agent tells how long ago. Null while it is not connected. */
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

async function askEverything() {
  const [tunnels, sessions, profiles, jumpHosts, hosts, settings, secrets] = await Promise.all([
    calls.tunnels.list(),
    calls.sessions.list(),
    calls.profiles.list(),
    calls.jumpHosts.list(),
    calls.hosts.unknown(),
    calls.settings.view(),
    calls.secrets.view(),
  ]);
  return { tunnels, sessions, profiles, jumpHosts, hosts, settings, secrets };
}

class Live {
  #all = $state.raw<Everything | null>(null);
  #rates = $state.raw<ReadonlyMap<string, Rates>>(new Map());
  /** However many want to know at once, one look is under way and one waits. */
  readonly #lists = new Resource(askEverything);
  #again: ReturnType<typeof setTimeout> | undefined;
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
    missed: () => this.#missed(),
  });

  /** Everything; null until the agent has said it once. */
  get all(): Everything | null {
    return this.#all;
  }

  /** Why the last look at everything failed; it is tried again. */
  get error(): ApiError | null {
    return this.#lists.error;
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

  /** Follows the agent from now on; what is known stays until it says otherwise. */
  start(): void {
    this.#heard.clear();
    this.#following.start();
  }

  stop(): void {
    this.#following.stop();
    clearTimeout(this.#again);
    this.#heard.clear();
    this.#all = null;
    this.#rates = new Map();
  }

  /** Asks for everything, at once. Whether that worked is told by `error`; what failed is asked again by itself. */
  async refresh(): Promise<void> {
    clearTimeout(this.#again);
    await this.#lists.load();
    if (this.#lists.error === null) this.#took();
    else this.#again = setTimeout(() => void this.refresh(), POLL);
  }

  /** After an order: the stream tells what became of it, and where there is none the lists do. */
  async settle(): Promise<void> {
    if (this.lost) await this.refresh();
  }

  /** Somebody has judged it, and the stream says so a moment later. */
  judged({ host, fingerprint }: UnknownHost): void {
    const hosts = this.#all?.hosts.filter((other) => other.host !== host || other.fingerprint !== fingerprint) ?? [];
    this.#heard.set('hosts', JSON.stringify(hosts));
    this.#take('hosts', hosts);
  }

  async #askInstead(): Promise<void> {
    this.#heard.clear();
    await this.#lists.load();
    if (this.#lists.error) throw this.#lists.error;
    this.#took();
  }

  #missed(): void {
    this.#heard.clear();
    // What went through while nobody listened is in no second of the graph.
    this.#rates = new Map();
    void this.refresh();
  }

  #took(): void {
    const lists = this.#lists.value;
    if (lists === null) return;
    if (this.lost) this.#sample(lists.tunnels, false);
    this.#all = { ...lists, tunnels: this.#rows(lists.tunnels.map((row) => [row, row])) };
    for (const [event, data] of this.#heard) this.#take(event, JSON.parse(data));
  }

  #told(event: string, data: string): void {
    if (event === 'records') {
      void this.refresh();
      return;
    }
    const before = this.#byId();
    this.#heard.set(event, data);
    const told: unknown = JSON.parse(data);
    this.#take(event, told);
    if (event !== 'tunnels') return;
    const states = told as TunnelState[];
    this.#sample(states, true);
    if (this.#all !== null && states.some((state) => this.#saysTooLittle(state, before.get(state.id)))) void this.refresh();
  }

  /** A tunnel of a session that has just come, and the port that a server chose, are in the lists alone. */
  #saysTooLittle(state: TunnelState, known: Tunnel | undefined): boolean {
    if (known === undefined) return true;
    return known.forward_type === 'remote' && known.status !== state.status && state.status === 'connected';
  }

  #take(event: string, told: unknown): void {
    if (event === 'tunnels') this.#takeTunnels(told as TunnelState[]);
    else if (event === 'sessions') this.#takeSessions(told as Record<string, SessionState>);
    else if (event === 'hosts' && this.#all) this.#all = { ...this.#all, hosts: told as UnknownHost[] };
  }

  #takeTunnels(states: TunnelState[]): void {
    if (!this.#all) return;
    const now = new Map(states.map((state) => [state.id, state]));
    // One of a session is gone with it; a saved one is in the next list, or not.
    const there = this.#all.tunnels.filter(({ id, session_id }) => session_id == null || now.has(id));
    this.#all = { ...this.#all, tunnels: this.#rows(there.map((row) => [row, now.get(row.id) ?? row])) };
  }

  #takeSessions(states: Record<string, SessionState>): void {
    if (!this.#all) return;
    const none: SessionState = { status: 'disconnected', uptime_secs: 0, last_error: null };
    const sessions = this.#all.sessions.map((row) => ({ ...row, ...(states[row.id] ?? none) }));
    this.#all = { ...this.#all, sessions };
  }

  #byId(): ReadonlyMap<string, Tunnel> {
    return new Map(this.tunnels.map((tunnel) => [tunnel.id, tunnel]));
  }

  /** Those of which nothing changed stay the very same, so that only the others are drawn anew. */
  #rows(pairs: (readonly [TunnelRow, Omit<TunnelState, 'id'>])[]): Tunnel[] {
    const known = this.#byId();
    return pairs.map(([row, { status, uptime_secs, bytes_tx, bytes_rx, last_error, retry_count }]) => {
      const before = known.get(row.id);
      const state = { status: status as Status, uptime_secs, bytes_tx, bytes_rx, last_error: last_error ?? null, retry_count };
      const made = { ...row, ...state, spec: row.spec ?? spec(row), connectedSince: since(state, before?.connectedSince ?? null) };
      return before && unchanged(before, made) ? before : made;
    });
  }

  /** `heard`: the agent would have told of every second in which something moved. */
  #sample(states: readonly TunnelState[], heard: boolean): void {
    const at = Date.now();
    const next = new Map<string, Rates>();
    for (const { id, bytes_tx, bytes_rx } of states) {
      const before = this.rates(id);
      const { tx, rx, both } = before;
      // Silence is told by saying nothing: what did not move is drawn as it was.
      if (heard && both.at(-1)?.total === bytes_tx + bytes_rx) {
        next.set(id, before);
        continue;
      }
      const add = (samples: readonly Sample[], total: number) => addSample(samples, { at, total }, { window: RATE_WINDOW, heard });
      next.set(id, { tx: add(tx, bytes_tx), rx: add(rx, bytes_rx), both: add(both, bytes_tx + bytes_rx) });
    }
    this.#rates = next;
  }
}

/** The agent tells how long it has been; the page counts on, and a second's rounding does not make it jump. */
function since({ status, uptime_secs }: { status: Status; uptime_secs: number }, before: number | null): number | null {
  if (status !== 'connected') return null;
  const now = Date.now() - uptime_secs * 1_000;
  return before !== null && Math.abs(before - now) < 2_000 ? before : now;
}

export const live = new Live();
