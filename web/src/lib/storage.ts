/** What this browser remembers for the person: choices, never secrets. Storage may be switched off; then nothing is remembered. */

export function recall(place: string): string | null {
  try {
    return localStorage.getItem(place);
  } catch {
    return null;
  }
}

export function keep(place: string, value: string): void {
  try {
    localStorage.setItem(place, value);
  } catch {
    // See above.
  }
}
