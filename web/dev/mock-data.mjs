/** What the mock server begins with: two members and an administrator, and texts as nasty as a stranger could send. */

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Shown as text everywhere, or something is wrong. */
export const HOSTILE = `<img src=x onerror=alert(1)><script>alert("x")</script> "quotes' & \\u202e`;
export const LONG = `long ${'x'.repeat(10_000)}`;

const FINGERPRINTS = [
  'SHA256:K1o7P4mpn4H1yWn1eC7GWJ9wSYoVQ3o2sXnLq0m3e8c',
  'SHA256:9bZ0rJq4uO0tq3nM1xGqz7d8f5v1H2w6Rk3yTt4a1Yo',
  'SHA256:w2cQyD1m0Jx9u7b3vL8kR5n6Hf4Gg2TzPpE1aXoI0Ns',
];

const LIMITS = {
  forwards_per_account: 20,
  visitors_per_port: 500,
  visitors_per_account: 2_000,
  bytes_per_second_to_owner: 0,
  bytes_per_second_to_visitors: 12_500_000,
};

const CONNECTION = {
  host: 'jump.example',
  ssh_port: 2222,
  login: 'tunnel',
  host_keys: [
    {
      key_type: 'ssh-ed25519',
      fingerprint: 'SHA256:Vd3l1c0oZbQ0m8uYJrYx5l2S9nT7aW4eXk6pHq1fG2U',
      known_hosts: '[jump.example]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO3l1c0oZbQ0m8uYJrYx5l2S9nT7aW4eXk6pHq1fG2U',
    },
  ],
  forward_host: '10.255.9.241',
  first_port: 10_000,
  last_port: 60_000,
  suggested: [
    { port: 10_080, label: 'web' },
    { port: 18_080, label: 'web, alternative' },
    { port: 10_022, label: 'SSH' },
    { port: 16_667, label: 'IRC' },
  ],
};

/** @param {string} account @param {boolean} admin @param {number} now */
function member(account, admin, now) {
  return {
    account,
    tier: 'community',
    admin,
    created_at: now - 200 * DAY,
    has_password: true,
    limits: LIMITS,
    /** @type {any[]} */ keys: [],
    connection: CONNECTION,
  };
}

/** @param {number} now */
export function beginning(now) {
  const alice = member('alice', true, now);
  alice.keys = [
    key('alice', 0, 'MacBook Pro', now),
    { ...key('alice', 1, HOSTILE, now), expires_at: now + 12 * DAY, ports: '10000-10999', key_type: 'sk-ssh-ed25519@openssh.com' },
  ];
  const ports = [
    { id: '1', port: 10_080, description: 'Photos of the cat', shared: true, created_at: now - 9 * DAY, live: true },
    { id: '2', port: 10_022, description: HOSTILE, shared: false, created_at: now - 2 * DAY, live: false },
  ];
  const tunnels = [
    tunnel(7, 10_080, FINGERPRINTS[0], 'MacBook Pro', 'SSH-2.0-OpenSSH_10.2', now - 3 * HOUR),
    { ...tunnel(9, 10_443, FINGERPRINTS[1], HOSTILE, LONG, now - 20_000), bytes_in: 0, bytes_out: 0 },
  ];
  const refusals = [
    {
      at: now - 4 * MINUTE,
      port: 80,
      reason: 'out_of_range',
      message: 'Port 80 is outside 10000–60000, the range of this jump host. Choose a port within it, for example 10080.',
      session: 7,
      fingerprint: FINGERPRINTS[0],
      label: 'MacBook Pro',
    },
    {
      at: now - 2 * HOUR,
      port: 16_667,
      reason: 'other_account',
      message: 'Port 16667 is held by another account. Choose another port, or ask for 0 and the jump host picks a free one.',
      session: 5,
      fingerprint: FINGERPRINTS[1],
      label: HOSTILE,
    },
  ];
  return {
    /** @type {Map<string, { me: any, ports: any[], tunnels: any[], refusals: any[], tokens: any[] }>} */
    people: new Map([
      ['alice', { me: alice, ports, tunnels, refusals, tokens: [token(now)] }],
      ['nina', { me: member('nina', false, now), ports: [], tunnels: [], refusals: [], tokens: [] }],
    ]),
    directory: [
      { owner: 'bob', port: 18_080, address: '10.255.9.241:18080', description: 'Wiki of the garden club', live: true },
      { owner: 'carol', port: 16_667, address: '10.255.9.241:16667', description: 'IRC, say hello', live: false },
      { owner: 'mallory', port: 20_000, address: '10.255.9.241:20000', description: HOSTILE, live: true },
      { owner: 'mallory', port: 20_001, address: '10.255.9.241:20001', description: LONG, live: false },
    ],
    accounts: [
      account('alice', true, now),
      account('nina', false, now),
      ...Array.from({ length: 120 }, (_, index) => account(`member-${index + 1}`, false, now)),
    ],
    invitations: [
      invitation('3', null, now),
      { ...invitation('4', 'dora', now), kind: 'password-reset', created_by: null },
    ],
    tiers: [
      { name: 'community', limits: { ...LIMITS, forwards_per_account: null, bytes_per_second_to_owner: null }, accounts: 118 },
      { name: 'plus', limits: { ...LIMITS, forwards_per_account: 50, bytes_per_second_to_visitors: 125_000_000 }, accounts: 3 },
    ],
    sessions: Array.from({ length: 1_000 }, (_, index) => session(index + 1, now)),
    audit: Array.from({ length: 240 }, (_, index) => auditEntry(240 - index, now)),
    settings: [
      setting('ssh', '10.255.9.241:2222', 'file', 'Where SSH clients log in.'),
      setting('web', '127.0.0.1:8022', 'flag', 'Where the dashboard, /health and /metrics answer.'),
      setting('web_url', '', 'default', "The dashboard's address for people, behind a reverse proxy."),
      setting('forward_address', '10.255.9.241', 'file', 'The address where forwarded ports listen.'),
      setting('ports', '10000-60000', 'default', 'The ports that clients may ask for.'),
      setting('allow_networks', '10.0.0.0/8', 'environment', 'The networks that may connect; none named: all.'),
      setting('rekey_bytes', '1073741824', 'default', 'New session keys after so many bytes.'),
      setting('takeover', 'probe', 'default', "Whether a newer session gets its account's port."),
      setting('audit_keep', '7776000s', 'default', 'How long the audit log is kept; 0 is for ever.'),
      setting('limits.bandwidth_to_visitors', '12500000', 'file', 'Bytes per second from the services of an account to visitors; 0 is no limit.'),
    ],
  };
}

/** @param {string} owner @param {number} index @param {string} label @param {number} now */
function key(owner, index, label, now) {
  return {
    account: owner,
    fingerprint: FINGERPRINTS[index],
    key_type: 'ssh-ed25519',
    label,
    added_at: now - 40 * DAY,
    last_used_at: index === 0 ? now - 3 * HOUR : null,
    expires_at: null,
    ports: null,
  };
}

/** @param {number} id @param {number} port @param {string | undefined} fingerprint @param {string} label @param {string} version @param {number} since */
function tunnel(id, port, fingerprint, label, version, since) {
  return {
    session: id,
    port,
    listen: '10.255.9.241',
    asked: 'localhost',
    fingerprint,
    label,
    client: '10.255.12.7:51234',
    client_version: version,
    since,
    visitors: 3,
    visitors_total: 1_412,
    bytes_in: 48_213_990,
    bytes_out: 1_921_443_120,
  };
}

/** @param {number} now @returns {any} */
function token(now) {
  return { id: '1', name: 'nightly backup', scopes: ['read'], created_at: now - 30 * DAY, expires_at: now + 60 * DAY, last_used_at: now - 8 * HOUR };
}

/** @param {string} name @param {boolean} admin @param {number} now */
function account(name, admin, now) {
  const index = name.length;
  return {
    name,
    tier: index % 5 === 0 ? 'plus' : 'community',
    admin,
    disabled: name === 'member-3',
    created_at: now - index * 11 * DAY,
    keys: index % 3,
    has_password: name !== 'member-2',
    sessions: index % 2,
  };
}

/** @param {string} id @param {string | null} name @param {number} now */
function invitation(id, name, now) {
  return { id, kind: 'invitation', account: name, tier: 'community', admin: false, created_by: 'alice', created_at: now - HOUR, expires_at: now + 7 * DAY };
}

/** @param {number} id @param {number} now */
function session(id, now) {
  return {
    id,
    account: `member-${(id % 120) + 1}`,
    fingerprint: FINGERPRINTS[id % 3],
    label: id === 4 ? HOSTILE : `machine ${id}`,
    client: `10.${id % 250}.12.7:${40_000 + id}`,
    client_version: id === 5 ? LONG : 'SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7',
    since: now - id * 7 * MINUTE,
    ports: id % 9 === 0 ? [] : [10_000 + id, ...(id % 7 === 0 ? [30_000 + id] : [])],
    visitors: id % 4,
    visitors_total: id * 3,
    bytes_in: id * 12_345,
    bytes_out: id * 987_654,
  };
}

/** @param {number} id @param {number} now */
function auditEntry(id, now) {
  const kinds = [
    { kind: 'login-accepted', detail: { key: FINGERPRINTS[0], client_version: id % 10 === 0 ? HOSTILE : 'SSH-2.0-OpenSSH_10.2' } },
    { kind: 'forward-opened', detail: { port: 10_080, asked: 'localhost' } },
    { kind: 'forward-refused', detail: { port: 80, reason: 'out_of_range' } },
    { kind: 'session-ended', detail: { reason: 'the client closed the connection', bytes_in: 1_200, bytes_out: 48_000 } },
  ];
  const { kind, detail } = kinds[id % kinds.length] ?? { kind: 'server-started', detail: {} };
  return { id, at: now - (241 - id) * 5 * MINUTE, kind, account: id % 6 === 0 ? null : 'alice', session: id, source: '10.255.12.7', detail };
}

/** @param {string} name @param {string} value @param {string} origin @param {string} about */
function setting(name, value, origin, about) {
  return { name, value, origin, about };
}

/** A day with two busy hours. @param {number} now */
export function traffic(now) {
  const end = Math.floor(now / MINUTE) * MINUTE;
  return Array.from({ length: 1_440 }, (_, ago) => {
    const busy = Math.exp(-(((ago - 180) / 90) ** 2)) + 0.5 * Math.exp(-(((ago - 800) / 150) ** 2));
    const wave = busy * (1 + 0.4 * Math.sin(ago / 3));
    return {
      at: end - ago * MINUTE,
      bytes_in: Math.round(wave * 3_000_000),
      bytes_out: Math.round(wave * 90_000_000),
      visitors: Math.round(busy * 6),
    };
  })
    .filter((minute) => minute.visitors > 0)
    .reverse();
}
