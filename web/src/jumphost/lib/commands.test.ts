import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { address } from '../../lib/address';
import { shellPath, shellQuote } from '../../lib/shell';
import {
  autosshCommand,
  keepaliveCommand,
  knownHostsCommand,
  plainCommand,
  systemdCommand,
  systemdUnit,
  type TunnelCommand,
} from './commands';

const TUNNEL: TunnelCommand = {
  host: 'jump.example',
  sshPort: 2222,
  login: 'tunnel',
  keyFile: '~/.ssh/adit_jump',
  remotePort: 10_080,
  localPort: 8_000,
};

/** Words that a shell must hand on unchanged. */
const NASTY = [
  'plain',
  'two words',
  "it's",
  '"double"',
  '$(touch pwned)',
  '`touch pwned`',
  '$HOME',
  'a;b|c&d>e<f',
  'back\\slash',
  '*?[x]',
  '!history',
  '#comment',
  '',
  'é ü 漢',
  "';touch pwned;'",
];

/** Runs a command line in a real POSIX shell where the programs it names only print what they were called with. */
function argumentsSeen(commandLine: string): string[] {
  const stub = `show() { for word in "$@"; do printf '%s\\0' "$word"; done; }; ssh() { show ssh "$@"; }; autossh() { show autossh "$@"; }`;
  const printed = execFileSync('/bin/sh', ['-c', `${stub}\n${commandLine}`], { env: { HOME: '/home/me', PATH: '/nowhere' } });
  return printed.toString().split('\0').slice(0, -1);
}

test.each(NASTY)('the shell sees %j as it was', (word) => {
  expect(argumentsSeen(`ssh ${shellQuote(word)}`)).toEqual(['ssh', word]);
});

test('a path in the home folder is found there, whatever else it is called', () => {
  expect(argumentsSeen(`ssh ${shellPath("~/my keys/it's $(x)")}`)).toEqual(['ssh', "/home/me/my keys/it's $(x)"]);
  expect(argumentsSeen(`ssh ${shellPath('/etc/a b')}`)).toEqual(['ssh', '/etc/a b']);
});

test('the plain command is one line, and what the documentation says', () => {
  expect(plainCommand(TUNNEL)).toBe('ssh -i ~/.ssh/adit_jump -p 2222 -R 10080:localhost:8000 tunnel@jump.example');
});

test('the keepalive command reaches ssh whole', () => {
  expect(argumentsSeen(keepaliveCommand(TUNNEL))).toEqual(
    'ssh -N -i /home/me/.ssh/adit_jump -p 2222 -R 10080:localhost:8000 -o ServerAliveInterval=30 -o ServerAliveCountMax=3 -o ExitOnForwardFailure=yes tunnel@jump.example'.split(' '),
  );
});

test('autossh does not give up when its first connection fails', () => {
  const command = autosshCommand(TUNNEL);
  expect(command).toMatch(/^AUTOSSH_GATETIME=0 autossh -M 0 -N /);
  expect(argumentsSeen(command).slice(0, 4)).toEqual(['autossh', '-M', '0', '-N']);
});

test('a host that wants to be a command stays a word', () => {
  const seen = argumentsSeen(plainCommand({ ...TUNNEL, host: 'x;touch pwned', keyFile: "/keys/o'brien" }));
  expect(seen.at(-1)).toBe('tunnel@x;touch pwned');
  expect(seen[2]).toBe("/keys/o'brien");
});

test('the unit quotes for systemd, not for a shell', () => {
  const unit = systemdUnit({ ...TUNNEL, keyFile: '~/100% "mine"/$key' });
  expect(unit).toContain('-i "%h/100%% \\"mine\\"/$$key" \\');
  expect(systemdUnit(TUNNEL)).toContain('-i %h/.ssh/adit_jump \\');
});

test('the pasted block writes the very unit', () => {
  const block = systemdCommand({ ...TUNNEL, keyFile: "~/it's $HOME" });
  const heredoc = block.slice(block.indexOf('cat >'), block.indexOf('systemctl --user daemon-reload'));
  const written = execFileSync('sh', ['-c', heredoc.replace(/> \S+/, '')]).toString();
  expect(written).toBe(systemdUnit({ ...TUNNEL, keyFile: "~/it's $HOME" }));
});

test('known host lines are appended as they are', () => {
  const lines = ['[jump.example]:2222 ssh-ed25519 AAAA', "odd 'one' $(x)"];
  const printing = knownHostsCommand(lines).replace('mkdir -p ~/.ssh && ', '').replace(' >> ~/.ssh/known_hosts', '');
  expect(execFileSync('sh', ['-c', printing]).toString()).toBe(`${lines.join('\n')}\n`);
});

test('an IPv6 address gets its brackets once', () => {
  expect([address('10.0.0.1', 80), address('fd00::1', 80), address('[fd00::1]', 80)]).toEqual([
    '10.0.0.1:80',
    '[fd00::1]:80',
    '[fd00::1]:80',
  ]);
});
