/** Addresses inside the page: `#/edge/reverse-tunnel/10080`. The fragment never reaches a server, so a link may hold a token. */

export interface Route {
  /** Decoded, without empty ones. */
  segments: string[];
  query: URLSearchParams;
}

export function parseRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#/, '').split('?', 2);
  const segments = path.split('/').filter((segment) => segment !== '');
  return { segments: segments.map(decode), query: new URLSearchParams(query) };
}

/** A stray `%` in a mistyped address is no reason to show nothing at all. */
function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** `/edge/reverse-tunnel`, for comparing with a menu entry. */
export function pathOf(route: Route): string {
  return `/${route.segments.join('/')}`;
}
