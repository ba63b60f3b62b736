/**
 * The half of a session that only this page has. Cookies ignore ports, so a browser sends the session's cookie to every service
 * that a member shares under the jump host's name; what is in `localStorage` stays with scheme, host and port. A request is
 * somebody's only with both.
 */

import { forget, keep, recall } from '../../lib/storage';

const PLACE = 'adit.session-key';
const BEGUN = 'adit.provider-sign-in';

/** As long as the server waits for somebody who went to the provider. */
const PATIENCE = 600_000;

/** Where storage is switched off: good until this page is left. */
let unkept: string | null = null;

/** Read anew for each request: another tab may have signed in. */
export function sessionKey(): string | null {
  return recall(PLACE) ?? unkept;
}

export function keepSessionKey(key: string): void {
  unkept = keep(PLACE, key) ? null : key;
}

export function forgetSessionKey(): void {
  forget(PLACE);
  unkept = null;
}

/** Another tab signed in or out. */
export function onOtherTab(handler: () => void): void {
  addEventListener('storage', ({ key }) => {
    // Null is everything at once.
    if (key === PLACE || key === null) handler();
  });
}

/** The person goes to the provider now, and comes back with a key. */
export function expectSessionKey(now: number): void {
  keep(BEGUN, String(now));
}

/**
 * Takes a key that came in the page's address, once, and only when the person went to the provider from here a moment ago. A link
 * of a stranger could hold the stranger's own: whoever follows it would work in the stranger's account without noticing.
 */
export function acceptSessionKey(key: string, now: number): boolean {
  const waited = now - Number(recall(BEGUN) ?? -Infinity);
  forget(BEGUN);
  if (key === '' || waited < 0 || waited > PATIENCE) return false;
  keepSessionKey(key);
  return true;
}
