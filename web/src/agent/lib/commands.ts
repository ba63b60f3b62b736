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

function withUser(hop: Hop, host: string): string {
  const user = hop.profile?.username;
  return user === undefined ? host : `${user}@${host}`;
}

const SSH_PORT = 22;

/** `user@host:port`, the port only where it is not the usual one. */
function withPort(hop: Hop): string {
  const host = withUser(hop, bracketed(hop.host));
  return hop.port === SSH_PORT ? host : `${host}:${hop.port}`;
}

/** What begins with a dash would be an option. */
function isOption(word: string): boolean {
  return word.startsWith('-');
}

function keyOf(hops: readonly Hop[]): string[] {
  const { profile } = hops.at(-1) ?? {};
  return profile?.auth_method === 'key' && profile.key_path ? ['-i', shellPath(profile.key_path)] : [];
}

/** The same with OpenSSH. Its jumps log in with the keys that ssh offers by itself. */
export function asSsh(forward: ForwardView, hops: readonly Hop[]): string {
  const target = hops.at(-1);
  if (!target) return '';
  const jumps = hops.slice(0, -1).map(withPort);
  // Unlike a jump, and a URI, it takes an IPv6 address without brackets (ssh(1)).
  const destination = withUser(target, target.host);
  return [
    'ssh -N -o ExitOnForwardFailure=yes -o ServerAliveInterval=30',
    ...keyOf(hops),
    ...(jumps.length > 0 ? ['-J', shellQuote(jumps.join(','))] : []),
    ...(target.port === SSH_PORT ? [] : ['-p', String(target.port)]),
    ...forwardWords(forward).map(shellQuote),
    ...(isOption(destination) ? ['--'] : []),
    shellQuote(destination),
  ].join(' ');
}

/** The same with adit, for as long as it runs, on a machine without an agent. */
export function asAdit(forward: ForwardView, hops: readonly Hop[]): string {
  const target = hops.at(-1);
  if (!target) return '';
  const jumps = hops.slice(0, -1).map(withPort);
  const via = shellQuote(withPort(target));
  return [
    'adit forward',
    ...forwardWords(forward).map(shellQuote),
    ...(isOption(withPort(target)) ? [`--via=${via}`] : ['--via', via]),
    ...(jumps.length > 0 ? ['-J', shellQuote(jumps.join(','))] : []),
    ...(target.profile?.auth_method === 'password' ? ['--password'] : keyOf(hops)),
  ].join(' ');
}

/** How to see that it works, from this machine; null where nobody here can. */
export function tryIt(forward: ForwardView): string | null {
  const here = address(forward.bind_address, forward.local_port);
  switch (forward.forward_type) {
    case 'local':
      return forward.remote_port === 443 ? `curl -k ${shellQuote(`https://${here}/`)}` : `curl ${shellQuote(`http://${here}/`)}`;
    case 'dynamic':
      return `curl --socks5-hostname ${shellQuote(here)} http://intranet.example/`;
    case 'remote':
      return null;
  }
}
