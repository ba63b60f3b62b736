import { expect, test } from 'vitest';
import { inspectKeyText } from './key-text';

test.each([
  '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----',
  '-----BEGIN RSA PRIVATE KEY-----\nMIIE',
  '-----BEGIN PRIVATE KEY-----\nMC4C',
  '-----BEGIN ENCRYPTED PRIVATE KEY-----',
  '-----BEGIN EC PRIVATE KEY-----',
  '---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----',
  'PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none',
  'Private-Lines: 1\nAAAAIG',
  'b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ',
  'AGE-SECRET-KEY-1QQ',
  'ssh-ed25519 AAAAC3Nza me\n-----BEGIN OPENSSH PRIVATE KEY-----',
  '  \n -----begin openssh private key-----',
])('%j is private', (text) => {
  expect(inspectKeyText(text).kind).toBe('private');
});

test.each([
  'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me@laptop',
  'ssh-rsa AAAAB3NzaC1yc2E',
  'ecdsa-sha2-nistp256 AAAAE2VjZHNh me',
  'sk-ssh-ed25519@openssh.com AAAAGnNr me',
  'sk-ecdsa-sha2-nistp256@openssh.com AAAAInNr',
  'restrict,command="x" ssh-ed25519 AAAAC3Nza me',
  'ssh-dss AAAAB3NzaC1kc3M old',
])('%j has the look of a public key', (text) => {
  expect(inspectKeyText(` ${text}\n`)).toEqual({ kind: 'public', text });
});

test.each(['hello', 'MIIEpAIBAAKCAQEA7', 'ssh-ed25519', '~/.ssh/id_ed25519.pub'])('%j is nothing to send', (text) => {
  expect(inspectKeyText(text).kind).toBe('unknown');
});

test('nothing is nothing', () => {
  expect(inspectKeyText(' \n').kind).toBe('empty');
});
