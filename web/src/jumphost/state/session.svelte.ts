/** Who is looking at this page. */

import { ApiError } from '../../api/client';
import { signIn } from '../api/calls';
import { server } from '../api/server';
import type { SessionView } from '../api/types';
import { acceptSessionKey, forgetSessionKey, keepSessionKey, onOtherTab, sessionKey } from '../lib/session-key';

export type Phase =
  | { is: 'starting' }
  | { is: 'unreachable'; message: string }
  | { is: 'signed-out'; message: string | null }
  | { is: 'signed-in'; session: SessionView };

class Session {
  #phase = $state.raw<Phase>({ is: 'starting' });

  constructor() {
    server.onSignedOut(() => this.ended());
    // This tab's requests are now somebody else's, or nobody's; it must not go on to show whose they were.
    onOtherTab(() => void this.resume());
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Asks the server who we are; `elseSay` is for whom it does not know. */
  async resume(elseSay: string | null = null): Promise<void> {
    try {
      this.#phase = { is: 'signed-in', session: await signIn.session() };
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#phase =
        error.status === 401 ? { is: 'signed-out', message: elseSay } : { is: 'unreachable', message: error.message };
    }
  }

  /** The answer that begins a session is the only one that tells its key. */
  began(session: SessionView): void {
    const older = sessionKey();
    if (session.csrf != null) keepSessionKey(session.csrf);
    this.#phase = { is: 'signed-in', session };
    void endReplaced(older);
  }

  /** The way back from a provider: the key came in the part of the address that no server sees. */
  async arrived(key: string): Promise<void> {
    const older = sessionKey();
    const accepted = acceptSessionKey(key, Date.now());
    await this.resume(accepted ? null : 'This sign-in was not begun in this browser, or took too long. Try again.');
    if (accepted && this.#phase.is === 'signed-in') void endReplaced(older);
  }

  /** The person asked for it. */
  async signOut(): Promise<void> {
    try {
      await signIn.end();
    } catch (error) {
      // A session the server has forgotten is over as well; anything else leaves it alive, so say so.
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
    }
    forgetSessionKey();
    this.#phase = { is: 'signed-out', message: null };
  }

  /** The server ended it. Its key stays where it is: another tab may have put the key of the next session there. */
  ended(): void {
    if (this.#phase.is !== 'signed-in') return;
    this.#phase = { is: 'signed-out', message: 'Your session has ended. Sign in again to go on.' };
  }
}

/**
 * Of the session that this browser had before, its key is all that is left: the new one has taken its cookie's place. A failure is
 * nobody's concern, because a session that is not used ends by itself.
 */
async function endReplaced(older: string | null): Promise<void> {
  if (older === null || older === sessionKey()) return;
  try {
    await signIn.endReplaced(older);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}

export const session = new Session();
