/** What buttons, toggles, menus and keys do to a tunnel, and what became of it. */

import { SvelteMap } from 'svelte/reactivity';
import { ApiError } from '../../api/client';
import { plural } from '../../lib/format';
import { notices } from '../../state/notices.svelte';
import { copyText } from '../../ui/clipboard';
import * as calls from '../api/calls';
import { localAddress } from '../lib/forward';
import { isActive } from '../lib/status';
import { hostKeys } from './host-keys.svelte';
import { live, type Tunnel } from './live.svelte';

/** Milliseconds after a round of orders in which the agent still tells what it brought. */
const AFTER_ROUND = 3_000;

class Orders {
  /** One order at a time for each. */
  readonly #busy = new Set<string>();
  readonly #errors = new SvelteMap<string, string>();
  /** Counts the rounds; an older one ends where a newer has begun. */
  #round = 0;
  #roundEnds = 0;
  #inRound = $state(false);
  /** Ends with the order that is under way when a round is ended. */
  #running: Promise<void> = Promise.resolve();

  /** An order to many is under way. */
  get inRound(): boolean {
    return this.#inRound;
  }

  /** What changes now was asked for by somebody, who is told of it as a whole. */
  get expected(): boolean {
    return this.#inRound || Date.now() < this.#roundEnds;
  }

  /** Why the last order was not carried out. */
  error(id: string): string | null {
    return this.#errors.get(id) ?? null;
  }

  /** Stops what is active, and starts everything else. */
  async toggle(tunnel: Tunnel): Promise<boolean> {
    return isActive(tunnel.status) ? this.stop(tunnel) : this.start(tunnel);
  }

  async start({ id }: Tunnel): Promise<boolean> {
    hostKeys.expect();
    return this.#carryOut(id, () => calls.tunnels.start(id));
  }

  async stop({ id }: Tunnel): Promise<boolean> {
    return this.#carryOut(id, () => calls.tunnels.stop(id));
  }

  async reconnect({ id }: Tunnel): Promise<boolean> {
    hostKeys.expect();
    return this.#carryOut(id, () => calls.tunnels.reconnect(id));
  }

  async connect(session: string): Promise<boolean> {
    hostKeys.expect();
    return this.#carryOut(session, () => calls.sessions.connect(session));
  }

  async disconnect(session: string): Promise<boolean> {
    return this.#carryOut(session, () => calls.sessions.disconnect(session));
  }

  /** All that may run and do not. One by one, as the agent does it: their logins are shared where they can be. */
  async startAll(tunnels: readonly Tunnel[]): Promise<void> {
    const idle = tunnels.filter(({ enabled, status }) => enabled && !isActive(status));
    this.#running = this.#all(idle, 'started', (tunnel) => this.start(tunnel));
    await this.#running;
  }

  async reconnectAll(tunnels: readonly Tunnel[]): Promise<void> {
    const running = tunnels.filter(({ status }) => isActive(status) || status === 'failed');
    this.#running = this.#all(running, 'reconnecting', (tunnel) => this.reconnect(tunnel));
    await this.#running;
  }

  /** Stops every tunnel, also those that a round was about to start. */
  async stopAll(tunnels: readonly Tunnel[]): Promise<void> {
    this.#round += 1;
    // An order to start that is still on its way would come after the one to stop.
    await this.#running;
    const running = tunnels.filter(({ status }) => isActive(status)).length;
    this.#roundEnds = Date.now() + AFTER_ROUND;
    await calls.tunnels.stopAll();
    await live.settle();
    notices.say(`${plural(running, 'tunnel')} stopped.`);
  }

  /** The tunnel stands otherwise than when an order was refused. */
  forget(id: string): void {
    this.#errors.delete(id);
  }

  async copyAddress(tunnel: Tunnel): Promise<void> {
    const text = localAddress(tunnel);
    const worked = await copyText(text);
    notices.say(worked ? `Copied ${text}` : 'Your browser did not allow copying. Select the address and copy it by hand.');
  }

  async #all(tunnels: readonly Tunnel[], done: string, order: (tunnel: Tunnel) => Promise<boolean>): Promise<void> {
    this.#round += 1;
    const round = this.#round;
    this.#inRound = true;
    let [worked, refused] = [0, 0];
    for (const tunnel of tunnels) {
      if (await order(tunnel)) worked += 1;
      else refused += 1;
      if (round !== this.#round) break;
    }
    this.#inRound = false;
    this.#roundEnds = Date.now() + AFTER_ROUND;
    if (round !== this.#round) return;
    if (tunnels.length === 0) notices.say('There was nothing to do.');
    else notices.say(`${worked} ${done}${refused > 0 ? `, ${refused} refused: each says why` : ''}.`);
  }

  async #carryOut(id: string, order: () => Promise<unknown>): Promise<boolean> {
    if (this.#busy.has(id)) return false;
    this.#busy.add(id);
    this.#errors.delete(id);
    try {
      await order();
      await live.settle();
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#errors.set(id, error.message);
      return false;
    } finally {
      this.#busy.delete(id);
    }
  }
}

export const orders = new Orders();
