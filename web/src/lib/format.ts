/** Figures and times as people read them. The exact value stands beside each (a title), so these may round. */

const SIZE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;

/** `1.2 MB`: decimal units, as network gear and file managers count. */
export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  // 999.5 and more would round to "1000", which belongs to the next unit.
  while (value >= 999.5 && unit < SIZE_UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits)} ${SIZE_UNITS[unit]}`;
}

/** `1.2 MB/s`. */
export function rate(bytesPerSecond: number): string {
  return `${bytes(Math.max(0, Math.round(bytesPerSecond)))}/s`;
}

/** `12,345`. */
export function count(value: number): string {
  return value.toLocaleString('en');
}

/** `1 session`, `2 sessions`. */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** A session may hold hundreds of ports; a sentence or a cell bears so many. */
const PORTS_TOLD = 8;

/** `10080, 10443`; of many the first ones, `and 292 more`. */
export function somePorts(ports: readonly number[]): string {
  const told = ports.slice(0, PORTS_TOLD).join(', ');
  return ports.length <= PORTS_TOLD ? told : `${told} and ${count(ports.length - PORTS_TOLD)} more`;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** `3 min ago`, `in 2 h`; beyond a month the date, because "57 days ago" makes people count. */
export function relativeTime(at: number, now: number): string {
  const distance = Math.abs(now - at);
  const past = at <= now;
  // Clocks of two machines differ a little; "in 1 s" for what has just happened would look broken.
  if (distance < 10 * SECOND) return 'just now';
  if (distance >= 30 * DAY) return new Date(at).toISOString().slice(0, 10);
  return past ? `${span(distance)} ago` : `in ${span(rounded(distance))}`;
}

/** To the nearest unit: a link that is good for 7 days does not end "in 6 days". */
function rounded(distance: number): number {
  const unit = distance < MINUTE ? SECOND : distance < HOUR ? MINUTE : distance < DAY ? HOUR : DAY;
  return Math.round(distance / unit) * unit;
}

/** `14:03`, in the reader's own zone; 24 hours, because the page speaks one language with everybody. */
export function timeOfDay(at: number): string {
  return new Date(at).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });
}

/** `4 min`, `2 h`, `3 days`: the largest unit that fits, rounded down. */
export function span(milliseconds: number): string {
  if (milliseconds < MINUTE) return `${Math.floor(milliseconds / SECOND)} s`;
  if (milliseconds < HOUR) return `${Math.floor(milliseconds / MINUTE)} min`;
  if (milliseconds < DAY) return `${Math.floor(milliseconds / HOUR)} h`;
  return plural(Math.floor(milliseconds / DAY), 'day');
}

/** `21 November 2026, 14:03:09 UTC`, in the reader's own zone and manner. */
export function exactTime(at: number): string {
  return new Date(at).toLocaleString(undefined, { dateStyle: 'long', timeStyle: 'long' });
}
