/** Text of others inside a sentence of ours: what turns it around, or is not to be seen, is written out (Unicode UAX #9, controls). */
export function plain(text: string): string {
  return text.replace(/[\p{Cc}\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu, (mark) => `\\u{${mark.codePointAt(0)?.toString(16)}}`);
}
