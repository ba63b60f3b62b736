/** A tunnel as a command to paste: with ssh, with adit alone, and how to try it. */

import { address } from '../../lib/address';
import { shellPath, shellQuote } from '../../lib/shell';
import type { ForwardView } from '../api/types';
import { LOOPBACK } from './forward';
import type { Hop } from './way';

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** What stands behind `-L`, `-D` or `-R` (ssh(1)). The address always stands there: a default is something else to each program. */
function forwardWords(forward: ForwardView): string[] {
  const listen = `${bracketed(forward.bind_address)}:${forward.local_port}`;
  switch (forward.forward_type) {
    case 'local':
      return ['-L', `${listen}:${bracketed(forward.remote_host ?? '')}:${forward.remote_port ?? 0}`];
    case 'dynamic':
      return ['-D', listen];
    case 'remote': {
      const over = forward.remote_host ?? LOOPBACK;
      return ['-R', `${bracketed(over)}:${forward.remote_port ?? 0}:${listen}`];
    }
  }
}

function destination(hop: Hop): string {
  const user = hop.profile?.username;
  return user === undefined ? bracketed(hop.host) : `${user}@${bracketed(hop.host)}`;
}

/** `user@host:port`, the port only where it is not `usual`. */
function withPort(hop: Hop, usual: number): string {
  return hop.port === usual ? destination(hop) : `${destination(hop)}:${hop.port}`;
}

function keyOf(hops: readonly Hop[]): string[] {
  const { profile } = hops.at(-1) ?? {};
  return profile?.auth_method === 'key' && profile.key_path ? ['-i', shellPath(profile.key_path)] : [];
}

/** The same with OpenSSH. Its jumps log in with the keys that ssh offers by itself. */
export function asSsh(forward: ForwardView, hops: readonly Hop[]): string {
  const target = hops.at(-1);
  if (!target) return '';
  const jumps = hops.slice(0, -1).map((hop) => withPort(hop, 22));
  return [
    'ssh -N -o ExitOnForwardFailure=yes -o ServerAliveInterval=30',
    ...keyOf(hops),
    ...(jumps.length > 0 ? ['-J', shellQuote(jumps.join(','))] : []),
    ...(target.port === 22 ? [] : ['-p', String(target.port)]),
    ...forwardWords(forward).map(shellQuote),
    shellQuote(destination(target)),
  ].join(' ');
}

/** The same with adit, for as long as it runs, on a machine without an agent. */
export function asAdit(forward: ForwardView, hops: readonly Hop[]): string {
  const target = hops.at(-1);
  if (!target) return '';
  const jumps = hops.slice(0, -1).map((hop) => withPort(hop, 22));
  return [
    'adit forward',
    ...forwardWords(forward).map(shellQuote),
    '--via',
    shellQuote(withPort(target, 22)),
    ...(jumps.length > 0 ? ['-J', shellQuote(jumps.join(','))] : []),
    ...(target.profile?.auth_method === 'password' ? ['--password'] : keyOf(hops)),
  ].join(' ');
}

/** How to see that it works, from this machine; null where nobody here can. */
export function tryIt(forward: ForwardView): string | null {
  const here = address(forward.bind_address, forward.local_port);
  switch (forward.forward_type) {
    case 'local':
      return `curl ${forward.remote_port === 443 ? '-k https' : 'http'}://${here}/`;
    case 'dynamic':
      return `curl --socks5-hostname ${here} http://intranet.example/`;
    case 'remote':
      return null;
  }
}
