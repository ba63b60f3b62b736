import { expect, test } from 'vitest';
import { badge, finds, fits, menuOf, uptime } from './status';

test('an uptime is told in one unit', () => {
  const told = [0, 59, 60, 3_599, 3_600, 86_399, 86_400, 200_000].map(uptime);
  expect(told).toEqual(['0s', '59s', '1m', '59m', '1h', '23h', '1d', '2d']);
});

test('the button counts the active, or the failed where there are any', () => {
  expect(badge([])).toEqual({ count: 0, failed: false });
  expect(badge(['connected', 'connecting', 'reconnecting', 'disconnected'])).toEqual({ count: 3, failed: false });
  expect(badge(['connected', 'failed', 'failed'])).toEqual({ count: 2, failed: true });
  expect(badge(['failed', 'disconnected'])).toEqual({ count: 1, failed: true });
});

test('a search finds a name or a spec', () => {
  const tunnel = { name: 'Switch UI', spec: 'L :8443 → 10.0.0.5:443' };
  for (const sought of ['switch', '8443', '10.0.0.5', '-> 10.0', 'L :8', '', '  UI ']) expect(finds(sought, tunnel), sought).toBe(true);
  for (const sought of ['router', '8444']) expect(finds(sought, tunnel), sought).toBe(false);
});

test('each chip shows its own', () => {
  const of = (status: string, auto_start = false) => ({ status, auto_start });
  expect(['connecting', 'connected', 'reconnecting'].every((status) => fits(of(status), 'active'))).toBe(true);
  expect(fits(of('failed'), 'active') || fits(of('disconnected'), 'failed')).toBe(false);
  expect(fits(of('disconnected'), 'stopped') && fits(of('failed', true), 'auto') && fits(of('failed'), 'all')).toBe(true);
});

test('a menu offers what makes sense as the tunnel stands', () => {
  expect(menuOf('connected')).toEqual(['pause', 'copy', 'edit']);
  for (const status of ['failed', 'disconnected'] as const) expect(menuOf(status)).toEqual(['reconnect', 'copy', 'edit']);
  for (const status of ['connecting', 'reconnecting', 'unknown'] as const) expect(menuOf(status)).toEqual(['copy', 'edit']);
});
