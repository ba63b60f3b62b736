import { expect, test } from 'vitest';
import type { JumpHostView, ProfileView, SessionRecord, TunnelRecord } from '../api/types';
import { usersOfJumpHost, usersOfProfile, usersOfSession } from './used-by';

const all = {
  tunnels: [
    { id: 't1', name: 'web', profile_id: 'p', jump_host_id: 'j' },
    { id: 'session:s:0', name: 'Session forward :80', profile_id: 'p', session_id: 's' },
    { id: 't2', name: 'db', profile_id: 'q', jump_session_id: 's' },
  ] as unknown as (TunnelRecord & { session_id?: string })[],
  sessions: [{ id: 's', name: 'lab', profile_id: 'p' }] as SessionRecord[],
  jumpHosts: [{ id: 'j', name: 'gate', profile_id: 'p' }] as JumpHostView[],
  profiles: [{ id: 'p', name: 'me' }, { id: 'q', name: 'root', jump_host_id: 'j' }] as ProfileView[],
};

const told = (users: { kind: string; name: string }[]) => users.map(({ kind, name }) => `${kind} ${name}`);

test('whoever logs in with a profile needs it', () => {
  expect(told(usersOfProfile(all, 'p'))).toEqual(['tunnel web', 'session lab', 'jump host gate']);
});

test('whoever goes through a jump needs it, also a profile', () => {
  expect(told(usersOfJumpHost(all, 'j'))).toEqual(['tunnel web', 'profile root']);
  expect(told(usersOfSession(all, 's'))).toEqual(['tunnel db']);
  expect(usersOfSession(all, 'nobody')).toEqual([]);
});
