import { expect, test } from 'vitest';
import { plain } from './plain';

test('what cannot be seen is written out, and letters stay', () => {
  expect(plain('bastion.example')).toBe('bastion.example');
  expect(plain('büro · 名前')).toBe('büro · 名前');
  expect(plain('a\u202eb\u0000c\u200bd')).toBe('a\\u{202e}b\\u{0}c\\u{200b}d');
});
