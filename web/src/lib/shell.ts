/** Words for a POSIX shell: what is pasted into a terminal means there what it says here. */

export function isPlainWord(word: string): boolean {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word);
}

/** One word of a POSIX shell (POSIX.1 §2.2.2: within single quotes everything but a single quote is literal). */
export function shellQuote(word: string): string {
  if (isPlainWord(word)) return word;
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** As `shellQuote`, but a leading `~/` stays bare: quoted, the shell would look for a folder called `~`. */
export function shellPath(path: string): string {
  if (path === '~' || path === '~/') return path;
  if (path.startsWith('~/')) return `~/${shellQuote(path.slice(2))}`;
  return shellQuote(path);
}
