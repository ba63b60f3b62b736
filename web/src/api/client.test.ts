import { afterEach, expect, test, vi } from 'vitest';
import { request } from './client';

afterEach(() => vi.unstubAllGlobals());

function answer(status: number, body: string): void {
  vi.stubGlobal('fetch', async () => new Response(body, { status }));
}

test('the server says itself what is wrong', async () => {
  answer(409, '{"error": "this name is taken", "code": "account-exists"}');
  await expect(request('GET', '/session')).rejects.toMatchObject({ message: 'this name is taken', code: 'account-exists' });
});

test('too many cookies are said to be that, with what to do', async () => {
  answer(431, '');
  const refused = request('GET', '/session');
  await expect(refused).rejects.toMatchObject({ status: 431, message: expect.stringContaining('Clear the cookies of this host') });
});

test('what a proxy answers is told by its status', async () => {
  answer(502, '<html>Bad gateway</html>');
  await expect(request('GET', '/session')).rejects.toMatchObject({ message: expect.stringContaining('status 502') });
});
