/** The way to a server: which other servers it goes through, and who logs in where. */

import type { JumpHostView, JumpView, ProfileView, SessionRecord } from '../api/types';

export interface Records {
  profiles: readonly ProfileView[];
  jumpHosts: readonly JumpHostView[];
  sessions: readonly SessionRecord[];
}

/** One server of a way, and who logs in there. */
export interface Hop {
  /** What people call it; the host itself where nobody called it anything. */
  name: string;
  host: string;
  port: number;
  profile: ProfileView | null;
}

/** A server that has a way: a tunnel, a session, a jump host. */
interface Place extends JumpView {
  host: string;
  port: number;
  profile_id: string;
}

/** Deeper than anybody chains; the agent refuses loops, and half-told news must not hang the page. */
const DEEPEST = 16;

/** The jump of a profile counts where nothing else is said. */
function jumpOf(place: JumpView, profile: ProfileView | null): JumpView {
  return place.jump_host_id || place.jump_session_id ? place : (profile ?? {});
}

/** A jump as somebody chose it, as a place of its own. */
function placeOf(jump: JumpView, records: Records): (Place & { name: string }) | null {
  const host = records.jumpHosts.find(({ id }) => id === jump.jump_host_id);
  if (host) return host;
  return records.sessions.find(({ id }) => id === jump.jump_session_id) ?? null;
}

/** What a profile puts on the way by itself: its name, to be shown beside "inherit". */
export function inheritedJump(profile: ProfileView | null, records: Records): string | null {
  return (profile && placeOf(profile, records)?.name) ?? null;
}

/** Every server of the way, the first to be reached first, the one itself last. */
export function wayTo(place: Place, records: Records): Hop[] {
  const hops: Hop[] = [];
  let next: (Place & { name?: string }) | null = place;
  while (next !== null && hops.length < DEEPEST) {
    const { profile_id, host, port, name }: Place & { name?: string } = next;
    const profile: ProfileView | null = records.profiles.find(({ id }) => id === profile_id) ?? null;
    hops.unshift({ name: hops.length === 0 ? host : (name ?? host), host, port, profile });
    next = placeOf(jumpOf(next, profile), records);
  }
  return hops;
}
