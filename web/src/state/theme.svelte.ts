/** Light or dark: as the system says, or as the person chose on this browser. */

import { keep, recall } from '../lib/storage';

export type Theme = 'system' | 'light' | 'dark';

const PLACE = 'adit.theme';

class ThemeChoice {
  #choice = $state<Theme>('system');

  constructor() {
    const kept = recall(PLACE);
    if (kept === 'light' || kept === 'dark') this.choose(kept);
  }

  get choice(): Theme {
    return this.#choice;
  }

  choose(theme: Theme): void {
    this.#choice = theme;
    if (theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    keep(PLACE, theme);
  }
}

export const theme = new ThemeChoice();
