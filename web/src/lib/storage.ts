/** What this browser remembers for this origin. Storage may be switched off; then nothing is remembered. */

export function recall(place: string): string | null {
  try {
    return localStorage.getItem(place);
  } catch {
    return null;
  }
}

/** Tells whether it is kept. */
export function keep(place: string, value: string): boolean {
  try {
    localStorage.setItem(place, value);
    return true;
  } catch {
    return false;
  }
}

export function forget(place: string): void {
  try {
    localStorage.removeItem(place);
  } catch {
    // See above.
  }
}
