/** Records of plain fields, compared. */

type Fields = Readonly<Record<string, unknown>>;

function same(one: unknown, other: unknown): boolean {
  if (one === other) return true;
  // Null may also be left out.
  if (one == null && other == null) return true;
  return typeof one === 'object' && typeof other === 'object' && JSON.stringify(one) === JSON.stringify(other);
}

/** Whether all fields of both are the same, but for the time that goes on by itself. */
export function unchanged(before: object, now: object): boolean {
  const [one, other] = [before, now] as [Fields, Fields];
  const names = new Set([...Object.keys(one), ...Object.keys(other)]);
  names.delete('uptime_secs');
  return [...names].every((name) => same(one[name], other[name]));
}

/** The fields of `wanted` that are something else than they were: what a form changes, and nothing that somebody else did meanwhile. */
export function changes<Wanted extends object>(before: object, wanted: Wanted): Partial<Wanted> {
  const entries = Object.entries(wanted).filter(([name, value]) => !same((before as Fields)[name], value));
  return Object.fromEntries(entries) as Partial<Wanted>;
}
