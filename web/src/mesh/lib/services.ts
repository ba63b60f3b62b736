/** Forwarded services: how each stands, in words, and which of many are meant. */

import type { ForwardRoute, ForwardState } from '../api/types';

/** `unknown`: the agent is gone, and what it said last may not be true any more. */
export type Shown = ForwardState | 'unknown';

type Tone = 'good' | 'idle' | 'warn' | 'bad';

/** The words are those of `adit mesh status`. */
const LOOKS: Record<Shown, { text: string; tone: Tone; why: string }> = {
  up: { text: 'up', tone: 'good', why: 'Connections find their way.' },
  target_down: { text: 'target down', tone: 'bad', why: 'The target did not take the last connection.' },
  unreachable: { text: 'no way', tone: 'bad', why: 'There is no way between the two agents.' },
  no_listener: { text: 'no listener', tone: 'warn', why: 'No agent listens for this key.' },
  no_endpoint: { text: 'no endpoint', tone: 'warn', why: 'No agent publishes this key.' },
  unknown: { text: 'not known', tone: 'idle', why: 'The agent does not answer.' },
};

export function look(state: Shown): { text: string; tone: Tone; why: string } {
  return LOOKS[state];
}

/** Rows with a name each, which stays while the row does. What others publish is not ours to trust: twins are told apart. */
export function named(routes: readonly ForwardRoute[]): { id: string; route: ForwardRoute }[] {
  const seen = new Map<string, number>();
  return routes.map((route) => {
    const { key, protocol, ingress_agent_id, listener_address, exit_agent_id, target } = route;
    const own = JSON.stringify([key, protocol, ingress_agent_id, listener_address, exit_agent_id, target]);
    const twins = seen.get(own) ?? 0;
    seen.set(own, twins + 1);
    return { id: twins === 0 ? own : `${own} ${twins}`, route };
  });
}

/** By anything that the row shows. */
export function finds(sought: string, route: ForwardRoute, state: Shown): boolean {
  const words = sought.toLowerCase();
  const { key, protocol, ingress_agent, listener_address, exit_agent, target } = route;
  const texts = [key, protocol, ingress_agent, listener_address, exit_agent, target, look(state).text];
  return texts.some((text) => text?.toLowerCase().includes(words));
}

/** Whether connections of the row begin, end or pass at the agent. */
export function touches(route: ForwardRoute, agent: string): boolean {
  return route.ingress_agent_id === agent || route.exit_agent_id === agent || route.path_ids.includes(agent);
}
