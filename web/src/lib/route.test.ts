import { expect, test } from 'vitest';
import { parseRoute, pathOf } from './route';

test('a route is its segments and its query', () => {
  const route = parseRoute('#/sign-in?error=no-such-account');
  expect([route.segments, route.query.get('error')]).toEqual([['sign-in'], 'no-such-account']);
});

test('nothing, a bare slash and doubled ones lead to the same place', () => {
  for (const hash of ['', '#', '#/', '#//']) expect(pathOf(parseRoute(hash))).toBe('/');
});

test('segments are decoded, and a stray percent sign does no harm', () => {
  expect(parseRoute('#/invite/a%20b/%').segments).toEqual(['invite', 'a b', '%']);
});
