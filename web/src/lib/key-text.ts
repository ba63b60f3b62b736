/** Looks at what was pasted into the key field, before anything leaves the page. */

export type KeyText =
  | { kind: 'empty' }
  /** It, or a part of it, must stay secret. */
  | { kind: 'private' }
  /** No key that a server could know what to do with. */
  | { kind: 'unknown' }
  /** Has the look of a public key; the server decides. */
  | { kind: 'public'; text: string };

const PRIVATE_MARKS = [
  /-----\s*BEGIN [A-Z0-9 ]*PRIVATE KEY/i,
  /BEGIN SSH2 ENCRYPTED PRIVATE KEY/i,
  /PuTTY-User-Key-File/i,
  /Private-(Lines|MAC|Hash)\s*:/i,
  // "openssh-key-v1" in base64: the body of an OpenSSH private key pasted without its first line.
  /b3BlbnNzaC1rZXktdj/,
  /AGE-SECRET-KEY-/i,
];

/** A key type as authorized_keys(5) writes it, wherever it stands: options may come before it. */
const PUBLIC_TYPE = /(^|\s)(ssh-[a-z0-9-]+|ecdsa-sha2-[a-z0-9-]+|sk-[a-z0-9-]+)(@openssh\.com)?\s+AAAA/;

export function inspectKeyText(raw: string): KeyText {
  const text = raw.trim();
  if (text === '') return { kind: 'empty' };
  if (PRIVATE_MARKS.some((mark) => mark.test(text))) return { kind: 'private' };
  // Anything else stays here: it may be half of a private key, and no server could use it.
  if (!PUBLIC_TYPE.test(text)) return { kind: 'unknown' };
  return { kind: 'public', text };
}
