/** The server's time, as well as we know it: times on the page are the server's, and the two clocks may differ by minutes. */

class Clock {
  #local = $state(Date.now());
  #skew = $state(0);

  constructor() {
    setInterval(() => {
      if (!document.hidden) this.#local = Date.now();
    }, 1_000);
  }

  get now(): number {
    return this.#local + this.#skew;
  }

  /** The server said what time it is, just now. */
  set(serverTime: number): void {
    this.#local = Date.now();
    this.#skew = serverTime - this.#local;
  }
}

export const clock = new Clock();
