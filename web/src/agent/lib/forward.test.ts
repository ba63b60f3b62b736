import { expect, test } from 'vitest';
import { type ForwardDraft, draftOf, emptyDraft, forwardOf, localAddress, problems, sentence, spec } from './forward';

const LOCAL: ForwardDraft = { kind: 'local', localPort: 8443, bindAddress: '127.0.0.1', remoteHost: '10.0.0.5', listenHost: '', remotePort: 443 };
const DYNAMIC: ForwardDraft = { ...emptyDraft(), kind: 'dynamic', localPort: 1080 };
const REMOTE: ForwardDraft = { ...emptyDraft(), kind: 'remote', localPort: 3000, remotePort: 9000 };
const WAY = { host: 'bastion', user: 'alice', jumps: [] };

test('the short form is the document’s', () => {
  expect(spec(forwardOf(LOCAL))).toBe('L :8443 → 10.0.0.5:443');
  expect(spec(forwardOf(DYNAMIC))).toBe('D :1080 SOCKS5');
  expect(spec(forwardOf(REMOTE))).toBe('R :9000 → localhost:3000');
  expect(spec(forwardOf({ ...LOCAL, remoteHost: 'fd00::1' }))).toBe('L :8443 → [fd00::1]:443');
});

test('what was saved is filled in again, and sent as it was', () => {
  for (const draft of [LOCAL, DYNAMIC, REMOTE]) expect(draftOf(forwardOf(draft))).toEqual(draft);
  // What a form still holds of another kind is not sent.
  expect(forwardOf({ ...LOCAL, kind: 'remote' })).toMatchObject({ remote_host: null, remote_port: 443 });
  expect(forwardOf({ ...LOCAL, kind: 'dynamic' })).toMatchObject({ remote_host: null, remote_port: null });
});

test('a form says what is missing, field by field', () => {
  for (const good of [LOCAL, DYNAMIC, REMOTE, { ...REMOTE, remotePort: 0 }, { ...REMOTE, remotePort: null }]) expect(problems(good)).toEqual({});
  expect(Object.keys(problems(emptyDraft()))).toEqual(['localPort', 'remoteHost', 'remotePort']);
  expect(Object.keys(problems({ ...DYNAMIC, localPort: 65_536 }))).toEqual(['localPort']);
  expect(Object.keys(problems({ ...REMOTE, remotePort: 70_000 }))).toEqual(['remotePort']);
  expect(Object.keys(problems({ ...LOCAL, localPort: 1.5 }))).toEqual(['localPort']);
  expect(problems({ ...LOCAL, bindAddress: '0.0.0.0' }).bindAddress).toBe(
    "bind_address '0.0.0.0' must be a loopback address (127.0.0.0/8 or ::1) — binding tunnels to non-loopback exposes them to the LAN with no auth",
  );
});

test('a local address has the brackets that a browser needs', () => {
  expect(localAddress(forwardOf({ ...LOCAL, bindAddress: '::1' }))).toBe('[::1]:8443');
});

test('a sentence says what will happen', () => {
  expect(sentence(LOCAL, { ...WAY, jumps: ['gate', 'inner'] })).toBe(
    'Whoever connects to 127.0.0.1:8443 on this machine reaches 10.0.0.5:443, as seen from bastion as alice, by way of gate, then inner.',
  );
  expect(sentence(DYNAMIC, WAY)).toBe(
    'Programs that use 127.0.0.1:1080 as a SOCKS5 proxy reach whatever can be reached from bastion as alice; names are looked up there.',
  );
  expect(sentence(REMOTE, WAY)).toBe(
    'Whoever connects to port 9000 of bastion, on that machine itself, reaches 127.0.0.1:3000 on this machine. The tunnel logs in as alice.',
  );
  expect(sentence({ ...REMOTE, listenHost: '*', remotePort: 0 }, { ...WAY, jumps: ['gate'] })).toBe(
    'Whoever connects to a port that bastion chooses, from wherever that is reached, reaches 127.0.0.1:3000 on this machine. ' +
      'The tunnel logs in as alice, by way of gate.',
  );
  expect(sentence({ ...REMOTE, listenHost: '10.0.0.1' }, WAY)).toContain('port 9000 at 10.0.0.1 of bastion reaches 127.0.0.1:3000');
  expect(sentence(emptyDraft(), { host: ' ', user: null, jumps: [] })).toBe(
    'Whoever connects to 127.0.0.1:… on this machine reaches …:…, as seen from the SSH host.',
  );
});
