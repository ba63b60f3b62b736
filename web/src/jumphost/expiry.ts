/** How long things may live, as people choose it; the server refuses more. */

export const DAY = 86_400_000;

export interface Expiry {
  title: string;
  milliseconds: number;
}

const days = (count: number): Expiry => ({ title: `in ${count} days`, milliseconds: count * DAY });
/** Every year is over by then. */
const year: Expiry = { title: 'in a year', milliseconds: 366 * DAY };

/** A key may also live until it is removed. */
export const KEY_EXPIRIES: readonly Expiry[] = [days(7), days(30), days(90), year];
/** A token does what its owner may do, wherever it gets to; so each one ends. */
export const TOKEN_EXPIRIES: readonly Expiry[] = [days(30), days(90), year];
export const LINK_EXPIRIES: readonly Expiry[] = [{ title: 'in a day', milliseconds: DAY }, days(7), days(30)];
