import { expect, test } from 'vitest';
import { bandwidth, joinBandwidth, splitBandwidth } from './bandwidth';

test('a limit is told in the unit in which it is round', () => {
  const told = [0, 125_000_000, 1_250_000, 12_500_000, 1_500, 3_000_001].map(bandwidth);
  expect(told).toEqual(['no limit', '1 Gbit/s', '10 Mbit/s', '100 Mbit/s', '1.5 kB/s', '3,000.001 kB/s']);
});

test('what is shown in the form is what is stored again', () => {
  for (const stored of [1, 999, 1_000, 125_000, 1_000_001, 12_500_000, 2_000_000_000]) {
    const { value, unit } = splitBandwidth(stored);
    expect(joinBandwidth(value, unit)).toBe(stored);
  }
});
