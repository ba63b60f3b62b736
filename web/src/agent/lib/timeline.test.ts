import { expect, test } from 'vitest';
import type { LogEntry } from '../api/types';
import { stretches, strip } from './timeline';

function log(...entries: [at: number, status: string, error?: string][]): LogEntry[] {
  return entries.map(([at, status, error], index) => ({ number: index + 1, at, tunnel_id: 't', name: 'web', status, error: error ?? null }));
}

test('the retries of one loss are one stretch, with the last reason', () => {
  const told = stretches(
    log([0, 'connecting'], [10, 'connected'], [50, 'reconnecting', 'silence'], [60, 'reconnecting', 'refused'], [70, 'connected']),
  );
  expect(told).toEqual([
    { number: 1, status: 'connecting', from: 0, to: 10, reason: null },
    { number: 2, status: 'connected', from: 10, to: 50, reason: null },
    { number: 3, status: 'reconnecting', from: 50, to: 70, reason: 'refused' },
    { number: 5, status: 'connected', from: 70, to: null, reason: null },
  ]);
});

test('a connection that did not reach its target changes nothing', () => {
  const told = stretches(log([0, 'connected'], [3, 'connected', 'refused by 10.0.0.5']));
  expect(told).toEqual([{ number: 1, status: 'connected', from: 0, to: null, reason: null }]);
});

test('a strip shows what lies in its time', () => {
  const all = stretches(log([0, 'connected'], [500, 'failed'], [750, 'disconnected']));
  expect(strip(all, 0, 1_000)).toEqual([
    { status: 'connected', left: 0, width: 50 },
    { status: 'failed', left: 50, width: 25 },
    { status: 'disconnected', left: 75, width: 25 },
  ]);
  expect(strip(all, 600, 700)).toEqual([{ status: 'failed', left: 0, width: 100 }]);
  expect(strip(all, 10, 10)).toEqual([]);
});
