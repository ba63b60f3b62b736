import { expect, test } from 'vitest';
import { changes, unchanged } from './unchanged';

test('only what a person changed is sent', () => {
  const before = { name: 'web', port: 22, jump_host_id: null, forwards: [{ local_port: 80 }] };
  expect(changes(before, { ...before, name: 'wiki' })).toEqual({ name: 'wiki' });
  expect(changes(before, { ...before, forwards: [{ local_port: 81 }] })).toEqual({ forwards: [{ local_port: 81 }] });
  expect(changes(before, { jump_host_id: 'gate' })).toEqual({ jump_host_id: 'gate' });
  // What the agent leaves out is null to a form.
  expect(changes({ name: 'web' }, { name: 'web', jump_host_id: null })).toEqual({});
});

test('a row is the same while nothing but its uptime goes on', () => {
  expect(unchanged({ id: 'a', uptime_secs: 1 }, { id: 'a', uptime_secs: 2 })).toBe(true);
  expect(unchanged({ id: 'a', last_error: null }, { id: 'a' })).toBe(true);
  expect(unchanged({ id: 'a', bytes_tx: 1 }, { id: 'a', bytes_tx: 2 })).toBe(false);
  expect(unchanged({ id: 'a' }, { id: 'a', last_error: 'x' })).toBe(false);
});
