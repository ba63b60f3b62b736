/** A forward while it is filled in: what is missing, how it is written in short, and what it will do, in a sentence. */

import { address } from '../../lib/address';
import { plain } from '../../lib/plain';
import type { ForwardKind, ForwardView } from '../api/types';
import { isLoopback, notLoopback } from './loopback';

export const LOOPBACK = '127.0.0.1';

export const KINDS: readonly { kind: ForwardKind; title: string; flag: string; hint: string }[] = [
  { kind: 'local', title: 'Local (-L)', flag: '-L', hint: 'A port here leads to one service over there.' },
  { kind: 'dynamic', title: 'Dynamic (-D) SOCKS5', flag: '-D', hint: 'A SOCKS5 proxy here reaches whatever the SSH host can reach.' },
  { kind: 'remote', title: 'Remote (-R)', flag: '-R', hint: 'A port over there leads to a service of this machine.' },
];

/** As the fields of a form have it; an empty number is `null`. */
export interface ForwardDraft {
  kind: ForwardKind;
  localPort: number | null;
  bindAddress: string;
  /** Of a local forward, what it leads to. */
  remoteHost: string;
  /** Of a remote forward, the address over there at which it listens. */
  listenHost: string;
  remotePort: number | null;
}

export function emptyDraft(): ForwardDraft {
  return { kind: 'local', localPort: null, bindAddress: LOOPBACK, remoteHost: '', listenHost: '', remotePort: null };
}

export function draftOf(forward: ForwardView): ForwardDraft {
  const host = forward.remote_host ?? '';
  const remote = forward.forward_type === 'remote';
  return {
    kind: forward.forward_type,
    localPort: forward.local_port,
    bindAddress: forward.bind_address,
    remoteHost: remote ? '' : host,
    listenHost: remote ? host : '',
    remotePort: forward.remote_port ?? null,
  };
}

export type Field = 'localPort' | 'bindAddress' | 'remoteHost' | 'remotePort';

function isPort(number: number | null): number is number {
  return number !== null && Number.isInteger(number) && number >= 1 && number <= 65_535;
}

const PORT = 'A port is a number from 1 to 65535.';

/** What is wrong, by field; nothing where it can be sent. */
export function problems(draft: ForwardDraft): Partial<Record<Field, string>> {
  const found: Partial<Record<Field, string>> = {};
  if (!isPort(draft.localPort)) found.localPort = PORT;
  if (!isLoopback(draft.bindAddress.trim())) found.bindAddress = notLoopback(draft.bindAddress.trim());
  if (draft.kind === 'local') {
    if (draft.remoteHost.trim() === '') found.remoteHost = 'A local forward leads to a host: its name or address, as the SSH host knows it.';
    if (!isPort(draft.remotePort)) found.remotePort = PORT;
  }
  if (draft.kind === 'remote' && draft.remotePort !== null && draft.remotePort !== 0 && !isPort(draft.remotePort)) {
    found.remotePort = `${PORT} With 0, or nothing, the SSH host chooses one.`;
  }
  return found;
}

/** What is said before somebody wants to save: not what is still missing, but what others could reach. */
export function atOnce({ bindAddress }: ReturnType<typeof problems>): ReturnType<typeof problems> {
  return bindAddress === undefined ? {} : { bindAddress };
}

/** What is sent. Only of a draft without problems. */
export function forwardOf(draft: ForwardDraft): Required<ForwardView> {
  const dynamic = draft.kind === 'dynamic';
  const host = (draft.kind === 'remote' ? draft.listenHost : draft.remoteHost).trim();
  return {
    forward_type: draft.kind,
    local_port: draft.localPort ?? 0,
    bind_address: draft.bindAddress.trim(),
    remote_host: dynamic || host === '' ? null : host,
    remote_port: dynamic ? null : draft.remotePort,
  };
}

/** `L :8080 → intranet:80`, `D :1080 SOCKS5`, `R :9000 → localhost:3000`: the agent's own short form, for what it has not seen yet. */
export function spec(forward: ForwardView): string {
  switch (forward.forward_type) {
    case 'local':
      return `L :${forward.local_port} → ${address(forward.remote_host ?? '?', forward.remote_port ?? 0)}`;
    case 'dynamic':
      return `D :${forward.local_port} SOCKS5`;
    case 'remote': {
      const target = forward.bind_address === LOOPBACK ? 'localhost' : forward.bind_address;
      return `R :${forward.remote_port ?? 0} → ${address(target, forward.local_port)}`;
    }
  }
}

/** Where programs of this machine find it, or for a remote forward, what it leads to: what is copied as "local address". */
export function localAddress(forward: ForwardView): string {
  return address(forward.bind_address, forward.local_port);
}

/** Three places of the way: where somebody connects, the SSH host, and what they reach. */
export interface WayEnds {
  from: { title: string; detail: string };
  to: { title: string; detail: string };
}

export function wayEnds(draft: ForwardDraft, host: string): WayEnds {
  const here = address(plain(draft.bindAddress.trim()) || LOOPBACK, draft.localPort ?? 0).replace(/:0$/, ':…');
  const there = address(plain(draft.remoteHost.trim()) || '…', draft.remotePort ?? 0).replace(/:0$/, ':…');
  switch (draft.kind) {
    case 'local':
      return { from: { title: 'This machine', detail: `listens on ${here}` }, to: { title: 'Target', detail: there } };
    case 'dynamic':
      return {
        from: { title: 'This machine', detail: `SOCKS5 on ${here}` },
        to: { title: 'Any target', detail: `what ${host || 'the SSH host'} reaches` },
      };
    case 'remote':
      return {
        from: { title: 'This machine', detail: `service at ${here}` },
        to: { title: 'Visitors', detail: `come to ${visitors(draft, host || 'the SSH host').where}` },
      };
  }
}

/** Where visitors of a remote forward come in, and from where they may. */
function visitors(draft: ForwardDraft, host: string): { where: string; whence: string } {
  const chosen = draft.remotePort === null || draft.remotePort === 0;
  const at = plain(draft.listenHost.trim());
  const itself = ['', LOOPBACK, '::1', 'localhost'].includes(at);
  const where = `${chosen ? 'a port' : `port ${draft.remotePort}`}${itself || at === '*' ? '' : ` at ${at}`}${chosen ? ` that ${host} chooses` : ` of ${host}`}`;
  if (at === '*') return { where, whence: ', from wherever that is reached,' };
  return { where, whence: itself ? ', on that machine itself,' : '' };
}

/** What the tunnel will do, before it is saved. `user` and `jumps` where they are known. */
export function sentence(draft: ForwardDraft, way: { host: string; user: string | null; jumps: readonly string[] }): string {
  const host = way.host.trim() === '' ? 'the SSH host' : plain(way.host.trim());
  const as = way.user === null ? '' : ` as ${plain(way.user)}`;
  const through = way.jumps.length === 0 ? '' : `, by way of ${way.jumps.map(plain).join(', then ')}`;
  const login = `${host}${as}${through}`;
  const { from, to } = wayEnds(draft, host);
  const here = from.detail.split(' ').at(-1);
  switch (draft.kind) {
    case 'local':
      return `Whoever connects to ${here} on this machine reaches ${to.detail}, as seen from ${login}.`;
    case 'dynamic':
      return `Programs that use ${here} as a SOCKS5 proxy reach whatever can be reached from ${login}; names are looked up there.`;
    case 'remote': {
      const { where, whence } = visitors(draft, host);
      const logsIn = as === '' && through === '' ? '' : ` The tunnel logs in${as}${through}.`;
      return `Whoever connects to ${where}${whence} reaches ${here} on this machine.${logsIn}`;
    }
  }
}
