/** Who is looking at this page. */

import { signIn } from '../api/calls';
import { ApiError, onSignedOut, useCsrf } from '../api/client';
import type { SessionView } from '../api/types';

export type Phase =
  | { is: 'starting' }
  | { is: 'unreachable'; message: string }
  | { is: 'signed-out'; message: string | null }
  | { is: 'signed-in'; session: SessionView };

class Session {
  #phase = $state.raw<Phase>({ is: 'starting' });

  constructor() {
    onSignedOut(() => this.ended());
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Asks the server who we are. */
  async resume(): Promise<void> {
    try {
      this.began(await signIn.session());
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401) this.#leave(null);
      else this.#phase = { is: 'unreachable', message: error.message };
    }
  }

  began(session: SessionView): void {
    useCsrf(session.csrf ?? null);
    this.#phase = { is: 'signed-in', session };
  }

  /** The person asked for it. */
  async signOut(): Promise<void> {
    try {
      await signIn.end();
    } catch (error) {
      // A session the server has forgotten is over as well; anything else leaves it alive, so say so.
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
    }
    this.#leave(null);
  }

  /** The server ended it. */
  ended(): void {
    if (this.#phase.is === 'signed-in') this.#leave('Your session has ended. Sign in again to go on.');
  }

  #leave(message: string | null): void {
    useCsrf(null);
    this.#phase = { is: 'signed-out', message };
  }
}

export const session = new Session();
