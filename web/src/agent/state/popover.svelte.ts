/** Whether the popover of tunnels is open: a button opens it, and a key. */

class PopoverState {
  #open = $state(false);

  get open(): boolean {
    return this.#open;
  }

  set open(open: boolean) {
    this.#open = open;
  }
}

export const popover = new PopoverState();
