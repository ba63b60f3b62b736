/**
 * Follows what a server tells by itself: a stream of events, and questions every few seconds while the stream is down, so that what
 * the page shows stays true.
 */

import { ApiError } from '../api/client';
import { listen, type Source } from '../api/events';

/**
 * A hidden tab lets its stream go after this long: a browser opens six connections to a host at most (HTTP/1.1), and a stream
 * holds one, so a few forgotten tabs would leave none for the tab in front.
 */
const HIDDEN_GRACE = 10_000;

export interface Followed {
  source: Source;
  /** Milliseconds: how often to ask while the stream is down, how soon to try the stream again, and how long an answer may take. */
  poll: number;
  told: (event: string, data: string) => void;
  /** Asks for everything, while the stream is down. Fails with `ApiError`. */
  ask: () => Promise<void>;
  /** The stream has begun after a while in which nobody listened: what changed meanwhile was not told. */
  missed: () => void;
}

export class Following {
  readonly #followed: Followed;
  #lost = $state(false);
  #current = $state(false);
  /** Nobody listened for a while, so lists may be out of date. */
  #deaf = false;
  #stream: AbortController | null = null;
  #retry: ReturnType<typeof setTimeout> | null = null;
  #hide: ReturnType<typeof setTimeout> | null = null;
  #running = false;

  constructor(followed: Followed) {
    this.#followed = followed;
    document.addEventListener('visibilitychange', () => this.#visibility());
  }

  /** The stream broke, and has not come back yet. */
  get lost(): boolean {
    return this.#lost;
  }

  /** What is known is what the server would say now: it tells, or has answered the last question. */
  get current(): boolean {
    return this.#current;
  }

  start(): void {
    this.stop();
    this.#running = true;
    this.#open();
  }

  stop(): void {
    this.#running = false;
    this.#close();
    this.#current = false;
    if (this.#retry !== null) clearTimeout(this.#retry);
    if (this.#hide !== null) clearTimeout(this.#hide);
    this.#retry = null;
    this.#hide = null;
    this.#lost = false;
    this.#deaf = false;
  }

  #open(): void {
    // Somebody may have come back to the tab while the last round of asking was still under way.
    this.#close();
    const stream = new AbortController();
    this.#stream = stream;
    let begun = false;
    const opened = () => {
      begun = true;
      this.#lost = false;
      this.#current = true;
      if (this.#deaf) this.#followed.missed();
      this.#deaf = false;
    };
    listen(this.#followed.source, stream.signal, { opened, told: this.#followed.told }).catch((error: unknown) => {
      if (!(error instanceof ApiError)) throw error;
      if (this.#stream !== stream) return;
      this.#close();
      this.#lost = true;
      // A stream that was refused says nothing about what is known: the server is there, and questions go on.
      if (begun) this.#current = false;
      void this.#poll();
    });
  }

  #close(): void {
    if (this.#stream === null) return;
    this.#stream.abort();
    this.#stream = null;
    this.#deaf = true;
  }

  /** One round while the stream is down: ask, wait, try the stream. */
  async #poll(): Promise<void> {
    // A server that is frozen accepts a question and never answers.
    let late: ReturnType<typeof setTimeout> | undefined;
    const patience = new Promise<false>((resolve) => {
      late = setTimeout(() => resolve(false), this.#followed.poll);
    });
    const answered = this.#followed.ask().then(
      () => true,
      (error: unknown) => {
        if (!(error instanceof ApiError)) throw error;
        // The banner says it already; who is no longer known is told by the client.
        return false;
      },
    );
    const current = await Promise.race([answered, patience]);
    clearTimeout(late);
    if (!this.#running) return;
    this.#current = current;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      // A hidden tab tries again when somebody looks at it.
      if (!document.hidden) this.#open();
    }, this.#followed.poll);
  }

  #visibility(): void {
    if (!this.#running) return;
    if (document.hidden) {
      this.#hide = setTimeout(() => {
        this.#close();
        this.#current = false;
      }, HIDDEN_GRACE);
      return;
    }
    if (this.#hide !== null) clearTimeout(this.#hide);
    this.#hide = null;
    if (this.#stream === null && this.#retry === null) this.#open();
  }
}
