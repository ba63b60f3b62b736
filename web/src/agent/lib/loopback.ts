/** Where a tunnel may listen. The agent holds to the same rule; here it is said before anything is sent. */

/** A numeric address in 127.0.0.0/8, or ::1 in whichever spelling: what the agent takes, and nothing else. */
export function isLoopback(typed: string): boolean {
  const octets = /^127\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(typed)?.slice(1);
  // `01` would be octal to some readers, so it is no number to any of ours.
  if (octets) return octets.every((octet) => Number(octet) <= 255 && String(Number(octet)) === octet);
  if (!/^[0-9a-f:]+$/i.test(typed)) return false;
  try {
    return new URL(`http://[${typed}]/`).hostname === '[::1]';
  } catch {
    return false;
  }
}

/** The agent's own sentence, word for word. */
export function notLoopback(typed: string): string {
  return (
    `bind_address '${typed}' must be a loopback address (127.0.0.0/8 or ::1) — binding tunnels to non-loopback exposes them to the ` +
    'LAN with no auth'
  );
}
