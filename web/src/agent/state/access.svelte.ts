/** Whether this page may ask the agent. */

import { ApiError } from '../../api/client';
import { page } from '../api/calls';
import { server } from '../api/server';
import type { PageView } from '../api/types';
import { forgetToken, keepToken, onOtherTab, token } from '../lib/token';

export type Phase =
  | { is: 'starting' }
  | { is: 'unreachable'; message: string }
  | { is: 'outside'; message: string | null }
  | { is: 'inside'; view: PageView };

/** Longer than it takes another tab to keep the token that it was just told. */
const GRACE = 1_000;

class Access {
  #phase = $state.raw<Phase>({ is: 'starting' });
  #entered = $state(0);
  /** The old token ends before the answer with the new one is here. */
  #replacing = false;
  #checking = false;

  constructor() {
    server.onSignedOut(() => this.#ended());
    onOtherTab(() => void this.resume());
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Grows by one each time the agent has let this page in: what was begun with another token is to be begun anew. */
  get entered(): number {
    return this.#entered;
  }

  /** Asks the agent whether it knows our token; `elseSay` is for whose it does not. */
  async resume(elseSay: string | null = null): Promise<void> {
    if (token() === null) {
      this.#phase = { is: 'outside', message: elseSay };
      return;
    }
    try {
      this.#enteredAt(await page.view());
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#phase =
        error.status === 401 ? { is: 'outside', message: elseSay } : { is: 'unreachable', message: error.message };
    }
  }

  /** With the code of the address that `adit open` shows. */
  async arrived(code: string): Promise<void> {
    try {
      keepToken((await page.enter(code)).token);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      // Whoever is in already needs no code.
      await this.resume(error.message);
      return;
    }
    await this.resume();
  }

  /** With the token itself, pasted. What was kept before stays until this one is known to be right. */
  async enter(text: string): Promise<void> {
    const before = token();
    keepToken(text);
    try {
      this.#enteredAt(await page.view());
    } catch (error) {
      if (before === null) forgetToken();
      else keepToken(before);
      throw error;
    }
  }

  /** Makes the old token worthless, everywhere. */
  async replaceToken(): Promise<void> {
    this.#replacing = true;
    try {
      keepToken((await page.replaceToken()).token);
    } finally {
      this.#replacing = false;
    }
    await this.resume();
  }

  leave(): void {
    forgetToken();
    this.#phase = { is: 'outside', message: null };
  }

  #enteredAt(view: PageView): void {
    this.#phase = { is: 'inside', view };
    this.#entered += 1;
  }

  /** A token was refused. It may be one that another tab is about to replace: what is typed here is not thrown away at once. */
  #ended(): void {
    if (this.#phase.is !== 'inside' || this.#replacing || this.#checking) return;
    this.#checking = true;
    setTimeout(() => {
      void this.resume('The agent has a new token. Open the page again to go on.').finally(() => (this.#checking = false));
    }, GRACE);
  }
}

export const access = new Access();
