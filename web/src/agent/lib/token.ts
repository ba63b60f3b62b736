/**
 * The agent's token, which this page keeps for its own origin: scheme, host and port. It goes out in a header and never in an
 * address; where storage is switched off it is good until this page is left.
 */

import { forget, keep, recall } from '../../lib/storage';

const PLACE = 'adit.agent-token';

let unkept: string | null = null;

/** Read anew for each request: another tab may have got a new one. */
export function token(): string | null {
  return unkept ?? recall(PLACE);
}

export function keepToken(text: string): void {
  unkept = keep(PLACE, text) ? null : text;
}

export function forgetToken(): void {
  forget(PLACE);
  unkept = null;
}

/** Another tab got in, or forgot it. */
export function onOtherTab(handler: () => void): void {
  addEventListener('storage', ({ key }) => {
    // Null is everything at once.
    if (key === PLACE || key === null) handler();
  });
}
