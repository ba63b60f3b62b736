/** Whether the dialog about host keys shows. It comes by itself only to whoever has just asked for a connection. */

/** A login that meets a new key does so within seconds; with a slow jump before it, within this. */
const EXPECTED = 60_000;

class HostKeyDialog {
  #shown = $state(false);
  #expectedUntil = 0;

  get shown(): boolean {
    return this.#shown;
  }

  /** Somebody has asked for a connection here. */
  expect(): void {
    this.#expectedUntil = Date.now() + EXPECTED;
  }

  /** A key waits since just now. */
  arrived(): void {
    if (Date.now() < this.#expectedUntil) this.#shown = true;
  }

  show(): void {
    this.#shown = true;
  }

  close(): void {
    this.#shown = false;
  }
}

export const hostKeys = new HostKeyDialog();
