/**
 * Every address of the agent's pages, which the page's fragment names (`lib/route.ts`): a page that is not here cannot be reached, and
 * the browser tests have a case for each of these.
 */

/** Before the agent knows this page: goes on with a code that `adit open` shows. */
export const DOOR = '/enter';

export const TUNNELS = '/settings/ssh-tunnels';

export const PAGES = [
  TUNNELS,
  '/settings/sessions',
  '/settings/profiles',
  '/settings/jump-hosts',
  '/settings/import',
  '/settings/general',
] as const;

export type PagePath = (typeof PAGES)[number];

export function isPage(path: string): path is PagePath {
  return (PAGES as readonly string[]).includes(path);
}

/** Addresses about one tunnel, and of the form that makes one. */
export const newTunnel = `${TUNNELS}/new`;
export const tunnelPage = (id: string) => `${TUNNELS}/${encodeURIComponent(id)}`;
export const editTunnel = (id: string) => `${tunnelPage(id)}/edit`;
