import { afterEach, expect, test, vi } from 'vitest';
import { query, Server } from './client';

const server = new Server({ base: '/api/v1', credentials: () => ({ 'x-csrf-token': 'the key' }), signedOutCode: 'signed-out' });

afterEach(() => vi.unstubAllGlobals());

function answer(status: number, body: string): Request[] {
  const requests: Request[] = [];
  vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
    requests.push(new Request(new URL(path, 'http://jump.example'), init));
    return new Response(body, { status });
  });
  return requests;
}

test('a request says who asks, and nothing of it stands in the address', async () => {
  const requests = answer(200, '{"account": "alice"}');
  await expect(server.request('POST', '/session', { account: 'alice' })).resolves.toEqual({ account: 'alice' });
  expect(requests[0]?.url).toBe('http://jump.example/api/v1/session');
  expect(requests[0]?.headers.get('x-csrf-token')).toBe('the key');
  expect(requests[0]?.headers.get('content-type')).toBe('application/json');
});

test('the server says itself what is wrong, and may say more', async () => {
  answer(409, '{"error": "this name is taken", "code": "account-exists", "users": ["bob"]}');
  const refused = { message: 'this name is taken', code: 'account-exists', told: expect.objectContaining({ users: ['bob'] }) };
  await expect(server.request('GET', '/session')).rejects.toMatchObject(refused);
});

test('too many cookies are said to be that, with what to do', async () => {
  answer(431, '');
  const refused = server.request('GET', '/session');
  await expect(refused).rejects.toMatchObject({ status: 431, message: expect.stringContaining('Clear the cookies of this host') });
});

test('what a proxy answers is told by its status', async () => {
  answer(502, '<html>Bad gateway</html>');
  await expect(server.request('GET', '/session')).rejects.toMatchObject({ message: expect.stringContaining('status 502') });
});

test('a refusal of what was shown before says nothing of what is shown now', async () => {
  let key = 'old';
  const changing = new Server({ base: '', credentials: () => ({ 'x-csrf-token': key }), signedOutCode: 'signed-out' });
  const signedOut = vi.fn();
  changing.onSignedOut(signedOut);
  vi.stubGlobal('fetch', async () => {
    key = 'new';
    return Response.json({ error: 'sign in first', code: 'signed-out' }, { status: 401 });
  });
  await expect(changing.request('GET', '/me')).rejects.toMatchObject({ status: 401 });
  expect(signedOut).not.toHaveBeenCalled();
  await expect(changing.request('GET', '/me')).rejects.toMatchObject({ status: 401 });
  expect(signedOut).toHaveBeenCalledOnce();
});

test('a query leaves out what is empty', () => {
  expect(query({ q: '', offset: 0, before: null, account: 'a&b' })).toBe('?offset=0&account=a%26b');
  expect(query({ q: '' })).toBe('');
});
