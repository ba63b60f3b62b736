/** A bandwidth limit as an administrator types it (a number and a unit) and as the server keeps it (bytes per second). */

/** Bytes per second of one of each. People say Mbit/s of a line and MB/s of a download, so both are offered. */
export const BANDWIDTH_UNITS = { 'kB/s': 1_000, 'MB/s': 1_000_000, 'Mbit/s': 125_000, 'Gbit/s': 125_000_000 } as const;

export type BandwidthUnit = keyof typeof BANDWIDTH_UNITS;

/** The shortest way to write it: 1250000 is 10 Mbit/s, 2000000 is 16 Mbit/s, 1500 is 1.5 kB/s. */
export function splitBandwidth(bytesPerSecond: number): { value: number; unit: BandwidthUnit } {
  const order: BandwidthUnit[] = ['Gbit/s', 'Mbit/s', 'MB/s', 'kB/s'];
  for (const unit of order) {
    const value = bytesPerSecond / BANDWIDTH_UNITS[unit];
    if (value >= 1 && Number.isInteger(value)) return { value, unit };
  }
  return { value: bytesPerSecond / BANDWIDTH_UNITS['kB/s'], unit: 'kB/s' };
}

export function joinBandwidth(value: number, unit: BandwidthUnit): number {
  return Math.round(value * BANDWIDTH_UNITS[unit]);
}

/** `10 Mbit/s`, or `no limit`. */
export function bandwidth(bytesPerSecond: number): string {
  if (bytesPerSecond === 0) return 'no limit';
  const { value, unit } = splitBandwidth(bytesPerSecond);
  return `${value.toLocaleString('en', { maximumFractionDigits: 3 })} ${unit}`;
}
