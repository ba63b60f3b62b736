import { expect, test } from 'vitest';
import type { JumpHostView, ProfileView, SessionRecord } from '../api/types';
import { inheritedJump, type Records, wayTo } from './way';

const saved = { enabled: true, created_at: 0, updated_at: 0 };

function profile(id: string, jump: { jump_host_id?: string; jump_session_id?: string } = {}): ProfileView {
  return { ...saved, id, name: id, username: `${id}-user`, auth_method: 'key', has_passphrase: false, has_password: false, legacy_algorithms: false, ...jump };
}

function jumpHost(id: string, profile_id: string): JumpHostView {
  return { ...saved, id, name: `${id} name`, host: `${id}.example`, port: 22, profile_id };
}

const session: SessionRecord = { ...saved, id: 's', name: 'lab', host: 'lab.example', port: 2022, profile_id: 'plain', forwards: [] };

const records: Records = {
  profiles: [profile('plain'), profile('behind', { jump_host_id: 'gate' }), profile('deep', { jump_host_id: 'inner' })],
  jumpHosts: [jumpHost('gate', 'plain'), jumpHost('inner', 'behind')],
  sessions: [session],
};

const names = (place: Parameters<typeof wayTo>[0]) => wayTo(place, records).map((hop) => hop.name);

test('without a jump there is one server', () => {
  const [hop, ...more] = wayTo({ host: 'db', port: 22, profile_id: 'plain' }, records);
  expect([hop?.host, hop?.profile?.username, more]).toEqual(['db', 'plain-user', []]);
});

test('a jump of the tunnel counts before that of its profile', () => {
  expect(names({ host: 'db', port: 22, profile_id: 'behind' })).toEqual(['gate name', 'db']);
  expect(names({ host: 'db', port: 22, profile_id: 'behind', jump_session_id: 's' })).toEqual(['lab', 'db']);
});

test('a jump may have a jump itself', () => {
  expect(names({ host: 'db', port: 22, profile_id: 'deep' })).toEqual(['gate name', 'inner name', 'db']);
});

test('news that make a loop do not hang the page', () => {
  const looped: Records = { ...records, profiles: [profile('loop', { jump_host_id: 'a' })], jumpHosts: [jumpHost('a', 'loop')] };
  expect(wayTo({ host: 'db', port: 22, profile_id: 'loop' }, looped)).toHaveLength(16);
});

test('what is inherited has a name', () => {
  expect(inheritedJump(records.profiles[1] ?? null, records)).toBe('gate name');
  expect(inheritedJump(records.profiles[0] ?? null, records)).toBeNull();
  expect(inheritedJump(null, records)).toBeNull();
});
