/**
 * The commands the page shows: they are pasted into a terminal as they stand, so everything variable is quoted for the reader
 * it meets there, a POSIX shell or systemd.
 */

import { isPlainWord, shellPath, shellQuote } from '../../lib/shell';

/** What a command is made of. `host` comes from the server, the key file from the person: neither is trusted to be plain. */
export interface TunnelCommand {
  host: string;
  sshPort: number;
  login: string;
  keyFile: string;
  /** 0 lets the jump host pick one. */
  remotePort: number;
  localPort: number;
}

/** One word of `ExecStart=` (systemd.service(5), "Command lines"): `%` and `$` double, C escapes within double quotes. */
export function unitQuote(word: string): string {
  const doubled = word.replaceAll('%', '%%').replaceAll('$', '$$$$');
  if (isPlainWord(word)) return doubled;
  return `"${doubled.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

/** `%h` is the home of whoever runs the unit; systemd knows no `~`. */
function unitPath(path: string): string {
  if (!path.startsWith('~/')) return unitQuote(path);
  const rest = unitQuote(path.slice(2));
  return rest.startsWith('"') ? `"%h/${rest.slice(1)}` : `%h/${rest}`;
}

function forward(tunnel: TunnelCommand): string {
  return `${tunnel.remotePort}:localhost:${tunnel.localPort}`;
}

function destination(tunnel: TunnelCommand): string {
  return `${tunnel.login}@${tunnel.host}`;
}

/** Three lost keepalives are noticed within 90 s, before most home routers forget the connection. */
const KEEPALIVE = ['-o ServerAliveInterval=30', '-o ServerAliveCountMax=3'];

function lines(...parts: string[]): string {
  return parts.join(' \\\n  ');
}

/** For now, in this terminal. One line, so that it also pastes into PowerShell. */
export function plainCommand(tunnel: TunnelCommand): string {
  return `ssh -i ${shellPath(tunnel.keyFile)} -p ${tunnel.sshPort} -R ${forward(tunnel)} ${shellQuote(destination(tunnel))}`;
}

/** As the plain one, and notices when the way is cut. */
export function keepaliveCommand(tunnel: TunnelCommand): string {
  return lines(
    `ssh -N -i ${shellPath(tunnel.keyFile)}`,
    `-p ${tunnel.sshPort} -R ${forward(tunnel)}`,
    ...KEEPALIVE,
    '-o ExitOnForwardFailure=yes',
    shellQuote(destination(tunnel)),
  );
}

/**
 * Comes back by itself. AUTOSSH_GATETIME=0: without it autossh gives up for good when its very first connection fails, which
 * is what happens after a power cut, when the computer is up before the network is.
 */
export function autosshCommand(tunnel: TunnelCommand): string {
  return lines(
    `AUTOSSH_GATETIME=0 autossh -M 0 -N -i ${shellPath(tunnel.keyFile)}`,
    `-p ${tunnel.sshPort} -R ${forward(tunnel)}`,
    ...KEEPALIVE,
    '-o ExitOnForwardFailure=yes',
    shellQuote(destination(tunnel)),
  );
}

/** The unit's name; with the port in it, so that a second tunnel does not overwrite the first. */
export function unitName(tunnel: TunnelCommand): string {
  return `adit-tunnel-${tunnel.remotePort}.service`;
}

/**
 * A unit of the person's own systemd: no root, and `%h` is their home. It runs ssh itself, since systemd already does what
 * autossh is for.
 */
export function systemdUnit(tunnel: TunnelCommand): string {
  const exec = [
    'ExecStart=/usr/bin/ssh -N -o BatchMode=yes',
    ...KEEPALIVE,
    '-o ExitOnForwardFailure=yes',
    `-i ${unitPath(tunnel.keyFile)}`,
    `-p ${tunnel.sshPort} -R ${forward(tunnel)}`,
    unitQuote(destination(tunnel)),
  ].join(' \\\n  ');
  return [
    '[Unit]',
    `Description=Tunnel from port ${tunnel.remotePort} of the jump host to localhost:${tunnel.localPort}`,
    '',
    '[Service]',
    exec,
    'Restart=always',
    'RestartSec=10',
    '',
    '[Install]',
    'WantedBy=default.target',
    '',
  ].join('\n');
}

/** Writes the unit, starts it, and has it started at boot without a login (linger). */
export function systemdCommand(tunnel: TunnelCommand): string {
  const name = unitName(tunnel);
  return [
    'mkdir -p ~/.config/systemd/user',
    `cat > ~/.config/systemd/user/${name} <<'UNIT'`,
    `${systemdUnit(tunnel)}UNIT`,
    'systemctl --user daemon-reload',
    `systemctl --user enable --now ${name}`,
    'loginctl enable-linger',
  ].join('\n');
}

/** Appends the host's keys, so that the first connection asks nothing. */
export function knownHostsCommand(knownHosts: string[]): string {
  const words = knownHosts.map((line) => shellQuote(line)).join(' ');
  return `mkdir -p ~/.ssh && printf '%s\\n' ${words} >> ~/.ssh/known_hosts`;
}
