/**
 * The API from memory, for working on the page without a jump host and for the page tests. It keeps the shapes of the real one,
 * not its rules: those are tested against the real binary.
 *
 * Sign in as `alice` (administrator, everything filled) or `nina` (new, nothing yet); any password of 12 characters. `wrong` as
 * the password is refused, `wait` answers 429; the provider signs in as `alice`. The links `#/invite/new`, `#/invite/first` and `#/invite/reset` work. Each sign-in
 * gets a world of its own, so that tests may run beside each other.
 */

import { unknownTo } from './contract.mjs';
import { beginning, traffic } from './mock-data.mjs';

/** @typedef {import('node:http').IncomingMessage} Request */
/** @typedef {import('node:http').ServerResponse} Response */
/** @typedef {ReturnType<typeof beginning>} Data */
/** @typedef {{ me: any, ports: any[], tunnels: any[], refusals: any[], tokens: any[] }} Person */
/** @typedef {{ name: string, key: string, data: Data, person: Person, streams: Set<Response> }} World */
/** `text` is a body that is no JSON. @typedef {{ status: number, body?: unknown, text?: string, headers?: Record<string, string> }} Answer */

const DAY = 86_400_000;

/** An answer that is no success. */
class Refused extends Error {
  /** @param {number} status @param {string} code @param {string} message @param {object} [extra] */
  constructor(status, code, message, extra = {}) {
    super(message);
    this.answer = { status, body: { error: message, code, ...extra } };
  }
}

/** A middleware of Vite's dev server, and of `serve.mjs`: answers `/api/`, and passes on the rest. */
export function mockApi() {
  /** By cookie. @type {Map<string, World>} */
  const worlds = new Map();
  let nextId = 100;

  /** @param {World} world @param {string} event @param {unknown} body */
  const tell = (world, event, body) => {
    for (const stream of world.streams) stream.write(`event: ${event}\ndata: ${JSON.stringify(body)}\n\n`);
  };

  /** @param {World} world */
  const tunnelsOf = ({ person }) => ({ tunnels: person.tunnels, refusals: person.refusals, at: Date.now() });

  // Bytes move in bursts; a tunnel that is asleep stays so.
  setInterval(() => {
    const now = Date.now();
    if (Math.sin(now / 9_000) < -0.6) return;
    for (const world of worlds.values()) {
      const [first] = world.person.tunnels;
      if (!first) continue;
      first.bytes_out += Math.round(900_000 * (1.2 + Math.sin(now / 2_500)));
      first.bytes_in += Math.round(20_000 * (1.2 + Math.cos(now / 2_500)));
      tell(world, 'tunnels', tunnelsOf(world));
    }
  }, 1_000).unref();

  // What keeps a stream alive through proxies, and tells the page that it is.
  setInterval(() => {
    for (const world of worlds.values()) for (const stream of world.streams) stream.write(': still here\n\n');
  }, 15_000).unref();

  /** @param {World} world */
  const sessionView = ({ name, person }) => ({
    account: name,
    tier: 'community',
    admin: person.me.admin,
    csrf: /** @type {string | null} */ (null),
    expires_at: Date.now() + DAY,
    via: 'password',
  });

  /** @param {string} name @returns {Answer} */
  const begin = (name) => {
    const data = beginning(Date.now());
    const person = data.people.get(name);
    if (!person) throw new Refused(401, 'bad-credentials', 'The account or the password is not right. Try again.');
    const cookie = `mock-${(nextId += 1)}`;
    const world = { name, key: `key-${nextId}`, data, person, streams: new Set() };
    worlds.set(cookie, world);
    return {
      status: 200,
      // Told this once: who has only the cookie must not learn it.
      body: { ...sessionView(world), csrf: world.key },
      headers: { 'set-cookie': `adit-session=${cookie}; Path=/; HttpOnly; SameSite=Strict` },
    };
  };

  /** @param {any[]} all @param {URLSearchParams} query */
  const page = (all, query) => {
    const sought = query.get('q')?.toLowerCase() ?? '';
    const found = sought === '' ? all : all.filter((item) => JSON.stringify(item).toLowerCase().includes(sought));
    const offset = Number(query.get('offset') ?? 0);
    return { total: found.length, items: found.slice(offset, offset + Number(query.get('limit') ?? 50)) };
  };

  const link = () => ({
    id: String(nextId),
    token: 'Zm9vYmFyYmF6',
    url: 'http://127.0.0.1:8022/#/invite/new',
    expires_at: Date.now() + 7 * DAY,
  });

  /** @param {string} method @param {string[]} path @param {any} body @returns {Answer | null} */
  const anybody = (method, path, body) => {
    switch (`${method} ${path.join('/')}`) {
      case 'GET sign-in':
        return { status: 200, body: { host: 'jump.example', version: '0.2.0', oidc: { label: 'Garden Club ID' }, first_run: false } };
      case 'POST session': {
        if (body.password === 'wait') {
          throw new Refused(429, 'too-many-attempts', 'too many attempts from your address', { retry_after: 30 });
        }
        if (body.password === 'wrong') {
          throw new Refused(401, 'bad-credentials', 'The account or the password is not right. Try again.');
        }
        return begin(body.account);
      }
      case 'POST invitation/look': {
        const kinds = { new: 'invitation', first: 'first-administrator', reset: 'password-reset' };
        const kind = kinds[/** @type {keyof typeof kinds} */ (body.token)];
        if (!kind) throw new Refused(404, 'no-such-invitation', 'this link is used, revoked or too old');
        return {
          status: 200,
          body: { kind, account: kind === 'password-reset' ? 'nina' : null, tier: 'community', admin: kind === 'first-administrator', expires_at: Date.now() + DAY },
        };
      }
      case 'POST invitation/accept':
        return begin('nina');
      case 'GET oidc/start': {
        const { body, headers } = begin('alice');
        const { csrf } = /** @type {{ csrf: string }} */ (body);
        return { status: 303, headers: { ...headers, location: `/#/signed-in?key=${csrf}` } };
      }
      default:
        return null;
    }
  };

  /** @param {string} method @param {string[]} path @param {any} body @param {World} world @param {URLSearchParams} query @returns {Answer} */
  const member = (method, path, body, world, query) => {
    const { name, data, person } = world;
    const { me, tokens } = person;
    const [, what, id = ''] = path;
    const changed = () => tell(world, 'me', me);
    const portsChanged = () => tell(world, 'ports', {});
    switch (`${method} ${path.slice(0, 2).join('/')}${path.length > 2 ? '/…' : ''}`) {
      case 'GET me':
        return { status: 200, body: me };
      case 'POST me/keys': {
        if (body.text.includes('AAAABAD')) throw new Refused(400, 'bad-key', 'This key is cut short. Copy the whole line of the .pub file.');
        if (body.text.includes('AAAAHELD')) throw new Refused(409, 'key-held-by-other', 'another account holds this key');
        const key = {
          account: name,
          fingerprint: `SHA256:new${(nextId += 1)}`,
          key_type: 'ssh-ed25519',
          label: body.label ?? 'my-laptop',
          added_at: Date.now(),
          last_used_at: null,
          expires_at: body.expires_in_ms ? Date.now() + body.expires_in_ms : null,
          ports: body.ports ?? null,
        };
        me.keys.push(key);
        changed();
        return { status: 201, body: key };
      }
      case 'POST me/keys/…':
        if (id === 'claim') {
          me.keys.push({ account: name, fingerprint: 'SHA256:claimed', key_type: 'ssh-ed25519', label: 'claimed', added_at: Date.now(), last_used_at: null, expires_at: null, ports: null });
          changed();
          return { status: 200, body: me.keys.at(-1) };
        }
        return {
          status: 200,
          body: { statement: 'adit key claim', command: `printf %s 'adit key claim' | ssh-keygen -Y sign -n adit-key-claim -f KEY` },
        };
      case 'DELETE me/keys/…': {
        const sessions = new Set(person.tunnels.filter((tunnel) => tunnel.fingerprint === id).map((tunnel) => tunnel.session));
        me.keys = me.keys.filter((/** @type {any} */ key) => key.fingerprint !== id);
        person.tunnels = person.tunnels.filter((tunnel) => tunnel.fingerprint !== id);
        changed();
        tell(world, 'tunnels', tunnelsOf(world));
        return { status: 200, body: { account: name, fingerprint: id, sessions_cut: sessions.size } };
      }
      case 'GET me/ports': {
        const asked = Number(query.get('port'));
        return { status: 200, body: page(asked ? person.ports.filter(({ port }) => port === asked) : person.ports, query) };
      }
      case 'POST me/ports': {
        if (person.ports.some((port) => port.port === body.port)) {
          throw new Refused(409, 'already-registered', `Port ${body.port} is in your list already.`);
        }
        const port = { id: String((nextId += 1)), created_at: Date.now(), live: false, ...body };
        person.ports.push(port);
        portsChanged();
        return { status: 201, body: port };
      }
      case 'PATCH me/ports/…': {
        person.ports = person.ports.map((port) => (port.id === id ? { ...port, ...body } : port));
        portsChanged();
        return { status: 200, body: person.ports.find((port) => port.id === id) };
      }
      case 'DELETE me/ports/…':
        person.ports = person.ports.filter((port) => port.id !== id);
        portsChanged();
        return { status: 204 };
      case 'GET me/tunnels':
        return { status: 200, body: tunnelsOf(world) };
      case 'DELETE me/sessions/…':
        person.tunnels = person.tunnels.filter((tunnel) => tunnel.session !== Number(id));
        tell(world, 'tunnels', tunnelsOf(world));
        return { status: 200, body: { session: Number(id) } };
      case 'GET me/traffic': {
        const port = Number(query.get('port'));
        return { status: 200, body: { port, minutes: port === 10_080 ? traffic(Date.now()) : [] } };
      }
      case 'POST session/replaced':
        return { status: 204 };
      case 'PUT me/password':
        if (body.current === 'wrong') throw new Refused(400, 'bad-credentials', 'The current password is not right.');
        return { status: 204 };
      case 'GET me/tokens':
        return { status: 200, body: tokens };
      case 'POST me/tokens': {
        const token = { id: String((nextId += 1)), name: body.name, scopes: body.scopes, created_at: Date.now(), expires_at: Date.now() + (body.expires_in_ms ?? 90 * DAY), last_used_at: null };
        tokens.push(token);
        return { status: 201, body: { ...token, token: 'adit_k3yAbCdEfGhIjKlMnOpQrStUvWxYz0123456789' } };
      }
      case 'DELETE me/tokens/…':
        person.tokens = tokens.filter((token) => token.id !== id);
        return { status: 204 };
      case 'GET directory':
        return { status: 200, body: page(data.directory, query) };
      default:
        throw new Refused(404, 'not-found', `the mock has no ${method} ${what}`);
    }
  };

  /** @param {string} method @param {string[]} path @param {any} body @param {World} world @param {URLSearchParams} query @returns {Answer} */
  const administrator = (method, path, body, { data }, query) => {
    const [, what = '', id = ''] = path;
    switch (`${method} ${what}${path.length > 3 ? '/…/…' : path.length > 2 ? '/…' : ''}`) {
      case 'GET accounts':
        return { status: 200, body: page(data.accounts, query) };
      case 'POST accounts':
        data.accounts.unshift({ name: body.name, tier: body.tier ?? 'community', admin: body.admin ?? false, disabled: false, created_at: Date.now(), keys: 0, has_password: false, sessions: 0 });
        return { status: 201, body: data.accounts[0] };
      case 'PATCH accounts/…':
        data.accounts = data.accounts.map((account) => (account.name === id ? { ...account, ...body } : account));
        return { status: 200, body: data.accounts.find((account) => account.name === id) };
      case 'DELETE accounts/…':
        if (id === 'alice') throw new Refused(409, 'last-administrator', 'This is the last administrator who can sign in. Make another one first.');
        data.accounts = data.accounts.filter((account) => account.name !== id);
        return { status: 200, body: { name: id, keys: 1, sessions_cut: 1 } };
      case 'POST accounts/…/…':
        return { status: 201, body: link() };
      case 'GET invitations':
        return { status: 200, body: data.invitations };
      case 'POST invitations':
        data.invitations.push({ id: String((nextId += 1)), kind: 'invitation', account: body.account ?? null, tier: body.tier ?? 'community', admin: body.admin ?? false, created_by: 'alice', created_at: Date.now(), expires_at: Date.now() + 7 * DAY });
        return { status: 201, body: link() };
      case 'DELETE invitations/…':
        data.invitations = data.invitations.filter((invitation) => invitation.id !== id);
        return { status: 204 };
      case 'GET tiers':
        return { status: 200, body: data.tiers };
      case 'PUT tiers/…':
        data.tiers = [...data.tiers.filter((tier) => tier.name !== id), { name: id, limits: body.limits, accounts: data.tiers.find((tier) => tier.name === id)?.accounts ?? 0 }];
        return { status: 200, body: data.tiers.at(-1) };
      case 'DELETE tiers/…':
        data.tiers = data.tiers.filter((tier) => tier.name !== id);
        return { status: 204 };
      case 'GET sessions':
        for (const session of data.sessions) session.bytes_out += 1_000_000;
        return { status: 200, body: { ...page(data.sessions, query), forwards: 1_021, visitors: 1_500, at: Date.now() } };
      case 'DELETE sessions/…':
        data.sessions = data.sessions.filter((session) => session.id !== Number(id));
        return { status: 200, body: { session: Number(id) } };
      case 'GET audit': {
        const wanted = data.audit.filter(
          (entry) =>
            (!query.get('kind') || entry.kind === query.get('kind')) &&
            (!query.get('account') || entry.account === query.get('account')) &&
            (!query.get('q') || JSON.stringify(entry).includes(query.get('q') ?? '')) &&
            entry.id < Number(query.get('before') ?? Infinity),
        );
        const items = wanted.slice(0, 50);
        const kinds = ['forward-opened', 'forward-refused', 'login-accepted', 'session-ended'];
        return { status: 200, body: { items, kinds, next: wanted.length > 50 ? (items.at(-1)?.id ?? null) : null } };
      }
      case 'GET audit.csv':
        return { status: 200, text: 'at,kind,account\n', headers: { 'content-type': 'text/csv' } };
      case 'GET health':
        return {
          status: 200,
          body: { version: '0.2.0', started_at: Date.now() - 3 * DAY, uptime_ms: 3 * DAY, sessions: data.sessions.length, forwards: 1_021, visitors: 1_500, unauthenticated: 2, open_files: 3_640, open_files_limit: 65_536, store_bytes: 4_812_800, memory_bytes: 61_400_000, addresses: { ssh: '10.255.9.241:2222', web: '127.0.0.1:8022', dashboard: 'http://127.0.0.1:8022/', forward_address: '10.255.9.241', ports: '10000-60000', advertise: 'jump.example', host_keys: [], pid: 4711 } },
        };
      case 'GET settings':
        return { status: 200, body: data.settings };
      default:
        throw new Refused(404, 'not-found', `the mock has no ${method} ${path.join('/')}`);
    }
  };

  /** @param {World} world @param {Request} request @param {Response} response */
  const stream = (world, request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    world.streams.add(response);
    request.on('close', () => world.streams.delete(response));
    tell(world, 'me', world.person.me);
    tell(world, 'tunnels', tunnelsOf(world));
  };

  /** @param {Request} request @param {Response} response @param {() => void} next */
  return async (request, response, next) => {
    const url = new URL(request.url ?? '/', 'http://mock');
    if (url.pathname === '/health') return send(response, { status: 200, body: { status: 'serving', version: '0.2.0', areas: ['jumphost'] } });
    if (!url.pathname.startsWith('/api/v1/')) return next();
    const method = request.method ?? 'GET';
    const path = url.pathname.slice('/api/v1/'.length).split('/').map(decodeURIComponent);
    const cookie = /adit-session=([^;]+)/.exec(request.headers.cookie ?? '')?.[1] ?? '';
    try {
      const body = await read(request);
      const unknown = unknownTo(method, path, url.searchParams, body);
      if (unknown) throw new Refused(400, 'bad-request', `the server does not know ${unknown}`);
      const open = anybody(method, path, body);
      if (open) return send(response, open);
      const world = worlds.get(cookie);
      if (!world) throw new Refused(401, 'signed-out', 'sign in first');
      if (request.headers['x-csrf-token'] !== world.key) {
        if (method === 'GET') throw new Refused(401, 'signed-out', 'sign in first');
        throw new Refused(403, 'csrf', 'the request is not from this page');
      }
      if (path[0] === 'events') return stream(world, request, response);
      if (path[0] === 'session') {
        if (method === 'GET') return send(response, { status: 200, body: sessionView(world) });
        worlds.delete(cookie);
        return send(response, { status: 204 });
      }
      if (path[0] === 'admin') {
        if (!world.person.me.admin) throw new Refused(403, 'not-admin', 'this is for administrators');
        return send(response, administrator(method, path, body, world, url.searchParams));
      }
      return send(response, member(method, path, body, world, url.searchParams));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      send(response, error.answer);
    }
  };
}

/** @param {Request} request */
async function read(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text === '' ? null : JSON.parse(text);
}

/** @param {Response} response @param {Answer} answer */
function send(response, answer) {
  response.writeHead(answer.status, { 'content-type': 'application/json', 'cache-control': 'no-store', ...answer.headers });
  response.end(answer.text ?? (answer.body === undefined ? '' : JSON.stringify(answer.body)));
}
