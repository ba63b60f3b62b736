import { expect, test } from 'vitest';
import type { ForwardView, ProfileView } from '../api/types';
import { asAdit, asSsh, tryIt } from './commands';
import type { Hop } from './way';

const LOCAL: ForwardView = { forward_type: 'local', local_port: 8443, bind_address: '127.0.0.1', remote_host: '10.0.0.5', remote_port: 443 };
const DYNAMIC: ForwardView = { forward_type: 'dynamic', local_port: 1080, bind_address: '::1' };
const REMOTE: ForwardView = { forward_type: 'remote', local_port: 3000, bind_address: '127.0.0.1', remote_port: 9000 };

function hop(host: string, port = 22, profile: Partial<ProfileView> = { username: 'alice', auth_method: 'key', key_path: '~/.ssh/id' }): Hop {
  return { name: host, host, port, profile: profile as ProfileView };
}

test('as ssh', () => {
  expect(asSsh(LOCAL, [hop('bastion')])).toBe(
    'ssh -N -o ExitOnForwardFailure=yes -o ServerAliveInterval=30 -i ~/.ssh/id -L 127.0.0.1:8443:10.0.0.5:443 alice@bastion',
  );
  expect(asSsh(DYNAMIC, [hop('gate', 2222), hop('fd00::1', 2022)])).toContain("-J alice@gate:2222 -p 2022 -D '[::1]:1080' alice@fd00::1");
  expect(asSsh(REMOTE, [hop('bastion')])).toContain('-R 127.0.0.1:9000:127.0.0.1:3000');
});

test('as adit', () => {
  expect(asAdit(LOCAL, [hop('gate'), hop('bastion', 2022)])).toBe(
    'adit forward -L 127.0.0.1:8443:10.0.0.5:443 --via alice@bastion:2022 -J alice@gate -i ~/.ssh/id',
  );
  expect(asAdit(DYNAMIC, [hop('old', 22, { username: 'op', auth_method: 'password' })])).toMatch(/--via op@old --password$/);
});

test('what wants to be a command stays a word', () => {
  const nasty = hop('x; rm -rf ~', 22, { username: '$(id)', auth_method: 'key', key_path: "~/it's" });
  expect(asSsh(LOCAL, [nasty])).toContain(`-i ~/'it'\\''s' -L 127.0.0.1:8443:10.0.0.5:443 '$(id)@x; rm -rf ~'`);
});

test('what begins with a dash is no option', () => {
  const nasty = hop('127.0.0.1', 22, { username: '-oProxyCommand=touch x', auth_method: 'agent' });
  expect(asSsh(LOCAL, [nasty])).toMatch(/ -- '-oProxyCommand=touch x@127\.0\.0\.1'$/);
  expect(asAdit(LOCAL, [nasty])).toContain(" --via='-oProxyCommand=touch x@127.0.0.1'");
});

test('how to try it', () => {
  expect(tryIt(LOCAL)).toBe('curl -k https://127.0.0.1:8443/');
  expect(tryIt({ ...LOCAL, remote_port: 80 })).toBe('curl http://127.0.0.1:8443/');
  expect(tryIt(DYNAMIC)).toBe("curl --socks5-hostname '[::1]:1080' http://intranet.example/");
  expect(tryIt(REMOTE)).toBeNull();
});
