/** Keys that work wherever the focus is. Single letters can be switched off, for those who speak to their computer (WCAG 2.1.4). */

import { keep, recall } from '../../lib/storage';

const PLACE = 'adit.shortcuts';

class ShortcutChoice {
  #on = $state(recall(PLACE) !== 'off');
  #help = $state(false);

  get on(): boolean {
    return this.#on;
  }

  choose(on: boolean): void {
    this.#on = on;
    keep(PLACE, on ? 'on' : 'off');
  }

  /** The list of them shows. */
  get help(): boolean {
    return this.#help;
  }

  showHelp(shown: boolean): void {
    this.#help = shown;
  }
}

export const shortcuts = new ShortcutChoice();
