/**
 * Every address of the page, which its fragment names (`lib/route.ts`): a page that is not here cannot be reached, and the browser
 * tests have a case for each of these.
 */

/** Before somebody is signed in. `/invite` goes on with a token. */
export const DOORS = ['/sign-in', '/signed-in', '/invite'] as const;

/** For everybody who is signed in. */
export const PAGES = ['/edge/reverse-tunnel', '/reachability/jumphost-tunnel', '/reachability/directory', '/help', '/account'] as const;

/** The pages above that go on with a port, and are about that port then. */
export const PORT_PAGES = ['/edge/reverse-tunnel', '/reachability/jumphost-tunnel'] as const satisfies readonly PagePath[];

/** For administrators, below `/admin`, in the order of their menu. */
export const ADMIN_TABS = [
  { name: 'accounts', title: 'Accounts' },
  { name: 'invitations', title: 'Invitations' },
  { name: 'tiers', title: 'Tiers' },
  { name: 'sessions', title: 'Live sessions' },
  { name: 'audit', title: 'Audit log' },
  { name: 'health', title: 'Health' },
  { name: 'settings', title: 'Settings' },
] as const;

export type PagePath = (typeof PAGES)[number];

export function isPage(path: string): path is PagePath {
  return (PAGES as readonly string[]).includes(path);
}
