/** The keys of a list of tunnels, pressed while the focus is on the name of one. The list is whatever has `data-tunnel-list`. */

import { live, type Tunnel } from '../state/live.svelte';
import { orders } from '../state/orders.svelte';

/** The names of a list, which the arrows step through. */
function names(list: Element): HTMLElement[] {
  return [...list.querySelectorAll<HTMLElement>('a[data-tunnel]')];
}

/** Puts the focus on the first tunnel of a list; false where there is none. */
export function focusFirst(list: Element): boolean {
  const [first] = names(list);
  first?.focus();
  return first !== undefined;
}

/** `menu` shows the tunnel's menu below `element`; none for one of a session, whose life is not its own. */
export function pressedOn(event: KeyboardEvent & { currentTarget: HTMLElement }, tunnel: Tunnel, menu?: (element: HTMLElement) => void): void {
  const { key, currentTarget: name } = event;
  const list = name.closest('[data-tunnel-list]');
  if (list === null || event.ctrlKey || event.metaKey || event.altKey) return;
  const all = names(list);
  const at = all.indexOf(name);
  const targets: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 };
  const target = targets[key];
  if (target !== undefined) all[Math.min(Math.max(target, 0), all.length - 1)]?.focus();
  else if (key === 'c') void orders.copyAddress(tunnel);
  else if (menu === undefined) return;
  // A key that is held down is one order; and nobody gives orders to an agent that is gone.
  else if ((key === ' ' || key === 'r') && (event.repeat || !live.current)) event.preventDefault();
  else if (key === ' ') void orders.toggle(tunnel);
  else if (key === 'r') void orders.reconnect(tunnel);
  else if (key === 'ContextMenu' || (key === 'F10' && event.shiftKey)) menu(name);
  else return;
  event.preventDefault();
}
