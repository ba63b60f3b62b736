/** The server's rules for passwords, told before it has to refuse one (NIST SP 800-63B: length counts, mixtures do not). */

export const SHORTEST_PASSWORD = 12;
export const LONGEST_PASSWORD = 1024;

/** What is still missing, as a short sentence; null when the server will most likely take it. */
export function passwordAdvice(password: string, account: string): string | null {
  const length = [...password].length;
  if (length < SHORTEST_PASSWORD) {
    const missing = SHORTEST_PASSWORD - length;
    return length === 0 ? null : `${missing} more ${missing === 1 ? 'character' : 'characters'}.`;
  }
  if (length > LONGEST_PASSWORD) return `At most ${LONGEST_PASSWORD} characters.`;
  if (account !== '' && password.toLowerCase().includes(account.toLowerCase())) {
    return 'Leave your account name out of it.';
  }
  return null;
}
