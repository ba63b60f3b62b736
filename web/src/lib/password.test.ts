import { expect, test } from 'vitest';
import { passwordAdvice } from './password';

test('length is all that counts', () => {
  expect(passwordAdvice('', 'alice')).toBeNull();
  expect(passwordAdvice('elevenchars', 'alice')).toBe('1 more character.');
  expect(passwordAdvice('all lowercase words', 'alice')).toBeNull();
  expect(passwordAdvice('x'.repeat(1_025), 'alice')).toBe('At most 1024 characters.');
});

test('twelve characters of two code units each are twelve', () => {
  expect(passwordAdvice('😀'.repeat(11), 'alice')).toBe('1 more character.');
  expect(passwordAdvice('😀'.repeat(12), 'alice')).toBeNull();
});

test('the account name does not belong in it', () => {
  expect(passwordAdvice('I am ALICE, really', 'alice')).toBe('Leave your account name out of it.');
});
