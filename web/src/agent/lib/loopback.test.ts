import { expect, test } from 'vitest';
import { isLoopback } from './loopback';

test.each(['127.0.0.1', '127.0.0.2', '127.255.255.254', '::1', '0:0:0:0:0:0:0:1', '::0001'])('%s is loopback', (typed) => {
  expect(isLoopback(typed)).toBe(true);
});

test.each([
  '0.0.0.0', '::', '192.168.1.7', '10.0.0.1', 'fe80::1', 'localhost', '127.1', '127.0.0.01', '127.0.0.256', '::ffff:127.0.0.1',
  '', '*', '[::1]', '127.0.0.1 ', '::1%lo', '::1/64', '2130706433', '0x7f.0.0.1', '127.0.0.1.', ':::1',
])('%j is not', (typed) => {
  expect(isLoopback(typed)).toBe(false);
});
