/** Short messages in a corner, read out by screen readers: what has just happened, never what the person must act on. */

export interface Notice {
  id: number;
  text: string;
}

/** Long enough to read two lines; WCAG 2.2.1 is met because everything said here also shows on the page itself. */
const STAYS = 6_000;

class Notices {
  #list = $state.raw<Notice[]>([]);
  #next = 1;

  get list(): readonly Notice[] {
    return this.#list;
  }

  say(text: string): void {
    const id = this.#next;
    this.#next += 1;
    this.#list = [...this.#list.slice(-2), { id, text }];
    setTimeout(() => this.dismiss(id), STAYS);
  }

  dismiss(id: number): void {
    this.#list = this.#list.filter((notice) => notice.id !== id);
  }
}

export const notices = new Notices();
