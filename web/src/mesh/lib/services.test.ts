import { expect, test } from 'vitest';
import type { ForwardRoute } from '../api/types';
import { finds, look, named, touches } from './services';

const route = (more: Partial<ForwardRoute> = {}): ForwardRoute => ({
  key: 'my-files',
  protocol: 'tcp',
  ingress_agent: 'branch',
  ingress_agent_id: 'b',
  listener_address: ':8080',
  exit_agent: 'hq',
  exit_agent_id: 'h',
  target: 'localhost:80',
  hop_count: 2,
  path_display: ['branch', 'relay', 'hq'],
  path_ids: ['b', 'r', 'h'],
  state: 'up',
  ...more,
});

test('a row is found by whatever it shows', () => {
  for (const sought of ['', 'FILES', 'branch', ':8080', 'hq', 'localhost', 'up', 'tcp']) expect(finds(sought, route(), 'up'), sought).toBe(true);
  for (const sought of ['relay', 'target down', 'udp']) expect(finds(sought, route(), 'up'), sought).toBe(false);
  expect(finds('target down', route(), 'target_down')).toBe(true);
  // Of an agent that is gone nobody knows what is up.
  expect(finds('not known', route(), 'unknown')).toBe(true);
  expect(finds('hq', route({ exit_agent: null, target: null }), 'no_endpoint')).toBe(false);
});

test('an agent has the services that begin, end or pass there', () => {
  for (const agent of ['b', 'r', 'h']) expect(touches(route(), agent), agent).toBe(true);
  expect(touches(route(), 'x')).toBe(false);
  expect(touches(route({ ingress_agent_id: 'x', path_ids: [], state: 'unreachable' }), 'x')).toBe(true);
});

test('a row keeps its name while its state changes, and twins have two', () => {
  const [up] = named([route()]);
  const [down] = named([route({ state: 'unreachable', hop_count: null, path_ids: [], path_display: [] })]);
  expect(up?.id).toBe(down?.id);
  const ids = named([route(), route({ target: 'localhost:81' }), route(), route({ protocol: 'udp' })]).map(({ id }) => id);
  expect(new Set(ids).size).toBe(4);
});

test('each state has the word that the command line has', () => {
  const words = (['up', 'target_down', 'unreachable', 'no_listener', 'no_endpoint'] as const).map((state) => look(state).text);
  expect(words).toEqual(['up', 'target down', 'no way', 'no listener', 'no endpoint']);
});
