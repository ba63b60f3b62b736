/** Who needs a record: it cannot be removed while somebody does. */

import type { JumpHostView, JumpView, ProfileView, SessionRecord, TunnelRecord } from '../api/types';
import { editTunnel } from '../places';

export interface User {
  kind: 'tunnel' | 'session' | 'jump host' | 'profile';
  name: string;
  /** Where it is looked at. */
  path: string;
}

interface All {
  tunnels: readonly (TunnelRecord & { session_id?: string | null })[];
  sessions: readonly SessionRecord[];
  jumpHosts: readonly JumpHostView[];
  profiles: readonly ProfileView[];
}

type Needs = Partial<JumpView> & { profile_id?: string };

function users(all: All, needs: (record: Needs) => boolean): User[] {
  // Tunnels of a session are the session.
  const saved = all.tunnels.filter(({ session_id }) => session_id == null);
  return [
    ...saved.filter(needs).map(({ id, name }): User => ({ kind: 'tunnel', name, path: editTunnel(id) })),
    ...all.sessions.filter(needs).map(({ name }): User => ({ kind: 'session', name, path: '/settings/sessions' })),
    ...all.jumpHosts.filter(needs).map(({ name }): User => ({ kind: 'jump host', name, path: '/settings/jump-hosts' })),
    ...all.profiles.filter(needs).map(({ name }): User => ({ kind: 'profile', name, path: '/settings/profiles' })),
  ];
}

export function usersOfProfile(all: All, id: string): User[] {
  return users(all, (record) => record.profile_id === id);
}

export function usersOfJumpHost(all: All, id: string): User[] {
  return users(all, (record) => record.jump_host_id === id);
}

export function usersOfSession(all: All, id: string): User[] {
  return users(all, (record) => record.jump_session_id === id);
}
