/** How a tunnel stands, in words; and the times that go with it. */

import type { Status } from '../api/types';

/** `unknown`: the agent is gone, and what it said last may not be true any more. */
export type Shown = Status | 'unknown';

const WORDS: Record<Shown, string> = {
  disconnected: 'Stopped',
  connecting: 'Connecting',
  connected: 'Connected',
  reconnecting: 'Reconnecting',
  failed: 'Failed',
  unknown: 'Not known',
};

export function inWords(status: Shown): string {
  return WORDS[status];
}

/** What a toggle stops; anything else it starts. */
export function isActive(status: string): boolean {
  return status === 'connected' || status === 'connecting' || status === 'reconnecting';
}

/** `59s`, `12m`, `3h`, `2d`: the largest unit that is full. */
export function uptime(seconds: number): string {
  const [minute, hour, day] = [60, 3_600, 86_400];
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < minute) return `${whole}s`;
  if (whole < hour) return `${Math.floor(whole / minute)}m`;
  if (whole < day) return `${Math.floor(whole / hour)}h`;
  return `${Math.floor(whole / day)}d`;
}

/** The chips above the list. */
export const FILTERS = [
  { name: 'all', title: 'All' },
  { name: 'active', title: 'Active' },
  { name: 'failed', title: 'Failed' },
  { name: 'stopped', title: 'Stopped' },
  { name: 'auto', title: 'Auto-start' },
] as const;

export type Filter = (typeof FILTERS)[number]['name'];

interface Filtered {
  status: string;
  auto_start: boolean;
}

export function fits(tunnel: Filtered, filter: Filter): boolean {
  switch (filter) {
    case 'all':
      return true;
    case 'active':
      return isActive(tunnel.status);
    case 'failed':
      return tunnel.status === 'failed';
    case 'stopped':
      return tunnel.status === 'disconnected';
    case 'auto':
      return tunnel.auto_start;
  }
}

/** By name or by spec: a port or a target narrows the list too. The arrow of a spec can be typed as `->`. */
export function finds(sought: string, tunnel: { name: string; spec: string }): boolean {
  const words = sought.toLowerCase().replaceAll('->', '→').trim();
  return [tunnel.name, tunnel.spec].some((text) => text.toLowerCase().includes(words));
}

/** What the button in the status bar counts: the failed where there are any, else the active. */
export function badge(statuses: readonly string[]): { count: number; failed: boolean } {
  const failed = statuses.filter((status) => status === 'failed').length;
  if (failed > 0) return { count: failed, failed: true };
  return { count: statuses.filter(isActive).length, failed: false };
}

export type MenuItem = 'pause' | 'reconnect' | 'copy' | 'edit';

/** What a right click on a saved tunnel offers. */
export function menuOf(status: Shown): MenuItem[] {
  if (status === 'connected') return ['pause', 'copy', 'edit'];
  if (status === 'failed' || status === 'disconnected') return ['reconnect', 'copy', 'edit'];
  return ['copy', 'edit'];
}
