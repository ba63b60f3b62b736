/** What happened to a tunnel, from the agent's log: when it was up, when it was not, and why. */

import type { LogEntry } from '../api/types';

export interface Stretch {
  /** Of the entry that it began with. */
  number: number;
  /** The status in that time. */
  status: string;
  from: number;
  /** Null: it still is so. */
  to: number | null;
  /** Why it became so. */
  reason: string | null;
}

/** Of the entries of one tunnel: one after the other, the oldest first. Retries of one loss are one stretch, with the reason of the last. */
export function stretches(log: readonly LogEntry[]): Stretch[] {
  const found: Stretch[] = [];
  for (const entry of log) {
    const last = found.at(-1);
    if (last && last.status === entry.status) {
      // The same again: another try, or a connection that did not reach its target.
      if (entry.status !== 'connected') last.reason = entry.error ?? last.reason;
      continue;
    }
    if (last) last.to = entry.at;
    found.push({ number: entry.number, status: entry.status, from: entry.at, to: null, reason: entry.error ?? null });
  }
  return found;
}

/** A part of a strip that goes from `begin` to `now`, in percent. */
export interface Part {
  status: string;
  left: number;
  width: number;
}

export function strip(all: readonly Stretch[], begin: number, now: number): Part[] {
  const length = now - begin;
  if (length <= 0) return [];
  return all.flatMap(({ status, from, to }) => {
    const left = Math.max(from, begin);
    const right = Math.min(to ?? now, now);
    if (right <= left) return [];
    return [{ status, left: ((left - begin) / length) * 100, width: ((right - left) / length) * 100 }];
  });
}
