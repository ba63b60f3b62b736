import { expect, test } from 'vitest';
import { settingInWords } from './settings';

test.each([
  ['login_grace', '30s', '30 s'],
  ['login_grace', '90s', '90 s'],
  ['rekey_time', '3600s', '1 h'],
  ['audit_keep', '7776000s', '90 days'],
  ['audit_keep', '86400s', '1 day'],
  ['audit_keep', '0', 'for ever'],
  ['idle_without_forward', '7200s', '2 h'],
  ['keepalive_interval', '1500ms', '1,500 ms'],
  ['rekey_bytes', '1073741824', '1 GiB'],
  ['rekey_bytes', '1000000001', '1,000,000,001 bytes'],
  ['limits.visitors_per_account', '2000', '2,000'],
  ['limits.visitors_per_port', '0', 'no limit'],
  ['limits.bandwidth_to_owner', '12500000', '100 Mbit/s'],
  ['limits.bandwidth_to_owner', '0', 'no limit'],
  ['web_url', '', 'none'],
  ['ports', '10000-60000', '10000-60000'],
  ['ssh', '127.0.0.1:2222', '127.0.0.1:2222'],
  ['oidc.client_id', 'adit', 'adit'],
])('%s, %s, is %s', (name, value, words) => {
  expect(settingInWords(name, value)).toBe(words);
});
