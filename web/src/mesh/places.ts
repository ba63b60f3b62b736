/** Every address of the mesh agent's pages, which the page's fragment names (`lib/route.ts`); the browser tests have a case for each. */

export const SERVICES = '/mesh/services';

export const PAGES = [SERVICES, '/mesh/agent'] as const;

export type PagePath = (typeof PAGES)[number];

export function isPage(path: string): path is PagePath {
  return (PAGES as readonly string[]).includes(path);
}
