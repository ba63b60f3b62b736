import { afterEach, expect, test, vi } from 'vitest';
import { ApiError, Server } from './client';
import { listen } from './events';

const server = new Server({ base: '/api/v1', credentials: () => ({ 'x-csrf-token': 'the key' }), signedOutCode: 'signed-out' });
const source = { server, path: '/events', silence: 45_000 };

/** A server that says what the test says, and keeps the requests it got. */
class Stream {
  readonly requests: Request[] = [];
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  readonly #body = new ReadableStream<Uint8Array>({ start: (controller) => void (this.#controller = controller) });

  constructor() {
    vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
      this.requests.push(new Request(new URL(path, 'http://jump.example'), init));
      init.signal?.addEventListener('abort', () => this.#controller.error(new DOMException('left', 'AbortError')));
      return new Response(this.#body);
    });
  }

  say(...pieces: (string | Uint8Array)[]): void {
    for (const piece of pieces) this.#controller.enqueue(typeof piece === 'string' ? new TextEncoder().encode(piece) : piece);
  }

  end(): void {
    this.#controller.close();
  }
}

function listening(leave = new AbortController()) {
  const told: string[] = [];
  const opened = vi.fn();
  const ended = listen(source, leave.signal, { opened, told: (event, data) => told.push(`${event} ${data}`) });
  return { told, opened, ended, leave };
}

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('each event is told with its name, however the bytes were cut', async () => {
  const stream = new Stream();
  const { told, opened, ended } = listening();
  const bytes = new TextEncoder().encode('event: me\ndata: {"account":"zoë"}\n\n: still here\n\nevent: directory\ndata: {}\n\n');
  // One byte at a time: also in the middle of a letter.
  for (const byte of bytes) stream.say(Uint8Array.of(byte));
  await vi.waitFor(() => expect(told).toEqual(['me {"account":"zoë"}', 'directory {}']));
  expect(opened).toHaveBeenCalledOnce();
  expect(stream.requests[0]?.headers.get('x-csrf-token')).toBe('the key');
  stream.end();
  await expect(ended).rejects.toThrow(ApiError);
});

test('a listener that leaves hears nothing more, and that is no error', async () => {
  const stream = new Stream();
  const { told, opened, ended, leave } = listening();
  await vi.waitFor(() => expect(opened).toHaveBeenCalled());
  leave.abort();
  await expect(ended).resolves.toBeUndefined();
  expect(told).toEqual([]);
  expect(stream.requests).toHaveLength(1);
});

test('a stream that falls silent is lost, and one that only says that it is there is not', async () => {
  vi.useFakeTimers();
  const stream = new Stream();
  const { opened, ended } = listening();
  const lost = vi.fn();
  const over = ended.catch(lost);
  await vi.waitFor(() => expect(opened).toHaveBeenCalled());
  for (let quarter = 0; quarter < 12; quarter += 1) {
    stream.say(': still here\n\n');
    await vi.advanceTimersByTimeAsync(15_000);
  }
  expect(lost).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(45_000);
  await over;
  expect(lost).toHaveBeenCalledWith(expect.any(ApiError));
});

test('a session that is over is told as such', async () => {
  const over = { error: 'sign in first', code: 'signed-out' };
  vi.stubGlobal('fetch', async () => Response.json(over, { status: 401 }));
  const signedOut = vi.fn();
  server.onSignedOut(signedOut);
  const { opened, ended } = listening();
  await expect(ended).rejects.toMatchObject({ status: 401, code: 'signed-out' });
  expect(signedOut).toHaveBeenCalledOnce();
  expect(opened).not.toHaveBeenCalled();
});

test('a network without an answer is unreachable', async () => {
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('Failed to fetch')));
  await expect(listening().ended).rejects.toMatchObject({ status: 0, code: 'unreachable' });
});
