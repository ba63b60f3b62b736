/** A short message in a corner, read out by screen readers: what has just happened, never what the person must act on. */

/** Long enough to read two lines; WCAG 2.2.1 is met because everything said here also shows on the page itself. */
const STAYS = 6_000;

class Notices {
  #text = $state<string | null>(null);
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** The latest; an older one gives way, since a pile would lie on what people work with. */
  get text(): string | null {
    return this.#text;
  }

  say(text: string): void {
    clearTimeout(this.#timer);
    this.#text = text;
    this.#timer = setTimeout(() => this.dismiss(), STAYS);
  }

  dismiss(): void {
    this.#text = null;
  }
}

export const notices = new Notices();
