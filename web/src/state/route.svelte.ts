/** Where in the page we are. */

import { parseRoute, pathOf, type Route } from '../lib/route';

class Router {
  #route = $state.raw<Route>(parseRoute(location.hash));

  constructor() {
    addEventListener('hashchange', () => {
      this.#route = parseRoute(location.hash);
    });
  }

  get segments(): string[] {
    return this.#route.segments;
  }

  get query(): URLSearchParams {
    return this.#route.query;
  }

  get path(): string {
    return pathOf(this.#route);
  }

  /** Leaves no trace of where we were: a link with a token in it does not belong in the history. */
  replace(path: string): void {
    history.replaceState(null, '', `#${path}`);
    this.#route = parseRoute(location.hash);
  }
}

export const router = new Router();
