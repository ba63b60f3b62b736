import { expect, test } from 'vitest';
import { bytes, plural, rate, relativeTime, somePorts, span, timeOfDay } from './format';

test('sizes grow through their units, and never read "1000"', () => {
  const told = [0, 999, 1_000, 1_234, 99_949, 999_499, 999_500, 1_500_000, 25_200_000_000, 3e15].map(bytes);
  expect(told).toEqual(['0 B', '999 B', '1.0 kB', '1.2 kB', '99.9 kB', '999 kB', '1.0 MB', '1.5 MB', '25.2 GB', '3.0 PB']);
});

test('a rate is a size per second, and never negative', () => {
  expect([rate(578_123.4), rate(-3)]).toEqual(['578 kB/s', '0 B/s']);
});

test('one is not many', () => {
  expect([plural(0, 'key'), plural(1, 'key'), plural(1_200, 'key')]).toEqual(['0 keys', '1 key', '1,200 keys']);
});

test('of many ports the first are told, and how many there are', () => {
  const ports = (count: number) => Array.from({ length: count }, (_, at) => 10_001 + at);
  expect(somePorts(ports(2))).toBe('10001, 10002');
  expect(somePorts(ports(8))).toBe('10001, 10002, 10003, 10004, 10005, 10006, 10007, 10008');
  expect(somePorts(ports(300))).toBe('10001, 10002, 10003, 10004, 10005, 10006, 10007, 10008 and 292 more');
});

const NOW = Date.UTC(2026, 10, 21, 12);
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

test.each([
  [0, 'just now'],
  [9 * SECOND, 'just now'],
  [-9 * SECOND, 'just now'],
  [10 * SECOND, '10 s ago'],
  [59 * SECOND, '59 s ago'],
  [MINUTE, '1 min ago'],
  [HOUR - 1, '59 min ago'],
  [3 * HOUR, '3 h ago'],
  [DAY, '1 day ago'],
  [29 * DAY, '29 days ago'],
  [30 * DAY, '2026-10-22'],
  [-2 * HOUR, 'in 2 h'],
  [-(7 * DAY - SECOND), 'in 7 days'],
  [-(DAY - SECOND), 'in 1 day'],
  [-(DAY + 13 * HOUR), 'in 2 days'],
  [-40 * DAY, '2026-12-31'],
])('%i ms before now is "%s"', (ago, told) => {
  expect(relativeTime(NOW - ago, NOW)).toBe(told);
});

test('a time of day has no AM and PM', () => {
  const told = [0, 9, 13, 23].map((hour) => timeOfDay(new Date(2026, 10, 21, hour, 5).getTime()));
  expect(told).toEqual(['00:05', '09:05', '13:05', '23:05']);
});

test('a span is its largest whole unit', () => {
  expect([span(30 * SECOND), span(90 * SECOND), span(3 * HOUR), span(3 * DAY)]).toEqual(['30 s', '1 min', '3 h', '3 days']);
});
