import { expect, test } from 'vitest';
import { addSample, currentRate, dayColumns, highestRate, type Sample, SPARK_WINDOW, sparkPath } from './traffic';

const T = 1_000_000;

function fed(...samples: [number, number][]): Sample[] {
  return samples.reduce<Sample[]>((kept, [after, total]) => addSample(kept, { at: T + after, total }), []);
}

test('the rate is that of the last second', () => {
  expect(currentRate(fed([0, 0], [1_000, 5_000], [2_000, 25_000]), T + 2_000)).toBe(20_000);
});

test('a tunnel that falls silent has no rate', () => {
  expect(currentRate(fed([0, 0], [1_000, 5_000]), T + 4_000)).toBe(0);
});

test('after a silence only the last second counts', () => {
  const samples = fed([0, 0], [30_000, 8_000]);
  expect(currentRate(samples, T + 30_000)).toBe(8_000);
});

test('one event alone says nothing about a rate', () => {
  expect(currentRate(fed([0, 9_999]), T)).toBe(0);
});

test('a smaller total is another session, and begins anew', () => {
  expect(fed([0, 500], [1_000, 20])).toEqual([{ at: T + 1_000, total: 20 }]);
});

test('what leaves the window is forgotten', () => {
  let samples: Sample[] = [];
  for (let second = 0; second < 600; second += 1) samples = addSample(samples, { at: T + second * 1_000, total: second });
  expect(samples.length).toBeLessThan(SPARK_WINDOW / 1_000 + 5);
});

test('nothing moving is a line at the bottom', () => {
  expect(sparkPath([], T, { width: 120, height: 28 })).toBe('M0 28H120');
  expect(sparkPath(fed([0, 5], [1_000, 5]), T + 1_000, { width: 120, height: 28 })).toBe('M0 28H120');
});

test('the highest rate touches the top, and half of it the middle', () => {
  const samples = fed([0, 0], [1_000, 100], [2_000, 150]);
  expect(sparkPath(samples, T + 2_000, { width: 120, height: 28 })).toBe('M0 28L116 28L118 0L120 14');
});

test('a burst that is over comes down again', () => {
  const samples = fed([0, 0], [1_000, 100]);
  expect(sparkPath(samples, T + 31_000, { width: 120, height: 28 })).toBe('M0 28L58 28L60 0L62 28L120 28');
});

test('a path holds numbers only, whatever the clock does', () => {
  const samples = fed([0, 0], [1_000, 100], [2_000, 150]);
  for (const now of [T - 1e9, T, T + 500, T + 1e9]) expect(sparkPath(samples, now, { width: 120, height: 28 })).not.toMatch(/NaN|Infinity/);
});

test('a day has each of its minutes, those without traffic as zeros', () => {
  const now = 30_000_000 * 60_000;
  const minute = { at: now - 5 * 60_000, bytes_in: 60, bytes_out: 600, visitors: 1 };
  const [times, into, out] = dayColumns([minute], now);
  expect([times.length, into.length, out.length]).toEqual([1_440, 1_440, 1_440]);
  expect(times.at(-1)).toBe(now / 1_000);
  expect([into.at(-6), out.at(-6), into.at(-5)]).toEqual([1, 10, 0]);
});

test('a longer graph of two lines has one top', () => {
  const samples = fed([0, 0], [1_000, 4_000], [2_000, 6_000]);
  expect(highestRate(samples, T + 2_000)).toBe(4_000);
  expect(sparkPath(samples, T + 2_000, { width: 300, height: 100, window: 300_000, top: 8_000 })).toBe('M0 100L298 100L299 50L300 75');
});

test('what was asked for now and then has the rate of the whole time in between', () => {
  const asked = addSample([{ at: T, total: 0 }], { at: T + 5_000, total: 5_000_000 }, { heard: false });
  expect(highestRate(asked, T + 5_000)).toBe(1_000_000);
});
