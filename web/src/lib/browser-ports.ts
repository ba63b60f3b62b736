/**
 * Ports that no browser opens, whatever listens there: the "bad ports" of the Fetch standard (§2.9), which Chrome, Firefox and
 * Safari follow. 10080 is one of them, since an old backup protocol spoke there. Those below 1024 are left out: no jump host
 * lends them. Everything else than a browser reaches them as any other port.
 */
const REFUSED: ReadonlySet<number> = new Set([
  1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
]);

export function browsersRefuse(port: number): boolean {
  return REFUSED.has(port);
}
