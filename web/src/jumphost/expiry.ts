/** How long keys, tokens and links may live, as people choose it. */

const DAY = 86_400_000;

export const EXPIRIES: readonly { name: string; title: string; milliseconds: number | null }[] = [
  { name: '7', title: 'in 7 days', milliseconds: 7 * DAY },
  { name: '30', title: 'in 30 days', milliseconds: 30 * DAY },
  { name: '90', title: 'in 90 days', milliseconds: 90 * DAY },
  { name: '365', title: 'in a year', milliseconds: 365 * DAY },
  { name: 'never', title: 'never', milliseconds: null },
];
