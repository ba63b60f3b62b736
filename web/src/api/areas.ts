/** What a server has to show. One process may have several roles; it says so to anybody who asks for its health. */

import { Server } from './client';

const AREAS = ['jumphost', 'agent', 'mesh'] as const;

export type Area = (typeof AREAS)[number];

export function isArea(name: string): name is Area {
  return (AREAS as readonly string[]).includes(name);
}

const server = new Server({ base: '', credentials: () => ({}), signedOutCode: '' });

export async function areas(): Promise<string[]> {
  return (await server.request<{ areas: string[] }>('GET', '/health')).areas;
}
