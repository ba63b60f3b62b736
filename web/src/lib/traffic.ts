/** From totals that arrive now and then to a rate and a small graph of it. */

export interface Sample {
  /** Server time. */
  at: number;
  /** Bytes so far, both directions. */
  total: number;
}

/** A minute shows a burst and its end; longer looks belong to the detail page. */
export const SPARK_WINDOW = 60_000;

/** The server sends each second while bytes move, so silence longer than this means that none did. */
const QUIET = 2_500;

export interface Adding {
  /** Milliseconds that are kept. */
  window?: number;
  /** Somebody listened all the time since the last total, so a long silence was one of the tunnel too, but for the last second. */
  heard?: boolean;
}

/** Adds a total. */
export function addSample(samples: readonly Sample[], next: Sample, { window = SPARK_WINDOW, heard = true }: Adding = {}): Sample[] {
  const last = samples.at(-1);
  // A total that shrinks is another session at the same port: begin anew.
  if (!last || next.total < last.total) return [next];
  if (next.at <= last.at) return [...samples.slice(0, -1), { at: last.at, total: next.total }];
  const kept = samples.filter((sample) => sample.at >= next.at - window - QUIET);
  if (heard && next.at - last.at > QUIET) kept.push({ at: next.at - 1_000, total: last.total });
  kept.push(next);
  return kept;
}

/** Bytes per second now; 0 once the tunnel has been silent for a while. */
export function currentRate(samples: readonly Sample[], now: number): number {
  const last = samples.at(-1);
  const before = samples.at(-2);
  if (!last || !before || now - last.at > QUIET) return 0;
  return ((last.total - before.total) * 1_000) / (last.at - before.at);
}

/** The rates between the samples after `begin`. */
function rates(samples: readonly Sample[], begin: number): { at: number; rate: number }[] {
  const points: { at: number; rate: number }[] = [];
  for (let i = 1; i < samples.length; i += 1) {
    const before = samples[i - 1];
    const sample = samples[i];
    if (!before || !sample || sample.at <= begin || sample.at <= before.at) continue;
    points.push({ at: sample.at, rate: ((sample.total - before.total) * 1_000) / (sample.at - before.at) });
  }
  return points;
}

/** The highest rate of the last `window`, in bytes per second. */
export function highestRate(samples: readonly Sample[], now: number, window = SPARK_WINDOW): number {
  return Math.max(...rates(samples, now - window).map((point) => point.rate), 0);
}

/** What a graph of rates is drawn to. */
export interface Canvas {
  width: number;
  height: number;
  /** Milliseconds from left to right. */
  window?: number;
  /** The rate at the top; the highest there was, where nothing is said. */
  top?: number;
}

/** The `d` of a path: time from left to right, the highest rate at the top, with a line at the bottom for none. */
export function sparkPath(samples: readonly Sample[], now: number, { width, height, window = SPARK_WINDOW, top }: Canvas): string {
  const begin = now - window;
  const points = rates(samples, begin);
  const highest = top ?? highestRate(samples, now, window);
  const flat = `M0 ${height}H${width}`;
  if (highest === 0 || points.length === 0) return flat;
  const x = (at: number) => round(((Math.min(at, now) - begin) / window) * width);
  const y = (value: number) => round(height - (value / highest) * height);
  let path = `M0 ${height}`;
  const first = points[0];
  if (first) path += `L${Math.max(0, x(first.at - 1_000))} ${height}`;
  for (const point of points) path += `L${x(point.at)} ${y(point.rate)}`;
  const last = points.at(-1);
  if (last && now - last.at > QUIET) path += `L${x(last.at + 1_000)} ${height}L${width} ${height}`;
  return path;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

export interface TrafficMinute {
  at: number;
  bytes_in: number;
  bytes_out: number;
  visitors: number;
}

const MINUTE = 60_000;

/** The minutes the server left out had no traffic; a graph needs them as zeros. Times in seconds, rates per second. */
export function dayColumns(minutes: readonly TrafficMinute[], now: number): [number[], number[], number[]] {
  const end = Math.floor(now / MINUTE);
  const begin = end - 24 * 60 + 1;
  const known = new Map(minutes.map((minute) => [Math.floor(minute.at / MINUTE), minute]));
  const columns: [number[], number[], number[]] = [[], [], []];
  for (let index = begin; index <= end; index += 1) {
    const minute = known.get(index);
    columns[0].push(index * 60);
    columns[1].push((minute?.bytes_in ?? 0) / 60);
    columns[2].push((minute?.bytes_out ?? 0) / 60);
  }
  return columns;
}
