/** One request to the server and back. What the requests mean stands in `calls.ts`. */

import { sessionKey } from '../lib/session-key';

/** Why a request did not succeed, in words that can be shown. */
export class ApiError extends Error {
  constructor(
    message: string,
    /** Stable; `unreachable` when no answer came. */
    readonly code: string,
    /** 0 when no answer came. */
    readonly status: number,
    /** Seconds, with 429. */
    readonly retryAfter: number | null,
  ) {
    super(message);
  }
}

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** Called when the server no longer knows the session. */
let signedOut: () => void = () => undefined;

export function onSignedOut(handler: () => void): void {
  signedOut = handler;
}

export async function request<Answer>(method: Method, path: string, body?: unknown): Promise<Answer> {
  const response = await send(method, path, 'application/json', body === undefined ? {} : { body: JSON.stringify(body) });
  const text = await answered(response.text());
  return (text === '' ? undefined : JSON.parse(text)) as Answer;
}

/** A whole file: a link could not carry the session's key. */
export async function download(path: string): Promise<Blob> {
  const response = await send('GET', path, '*/*');
  return answered(response.blob());
}

/** The answer's head, when it is a success; its body is still to come. */
export async function send(
  method: Method,
  path: string,
  accept: string,
  rest: { body?: string; signal?: AbortSignal } = {},
): Promise<Response> {
  const headers: Record<string, string> = { accept };
  if (rest.body !== undefined) headers['content-type'] = 'application/json';
  const key = sessionKey();
  if (key !== null) headers['x-csrf-token'] = key;
  const response = await answered(
    fetch(`/api/v1${path}`, { method, headers, credentials: 'same-origin', cache: 'no-store', ...rest }),
  );
  if (response.ok) return response;
  const error = toError(response.status, await answered(response.text()));
  if (error.code === 'signed-out') signedOut();
  throw error;
}

/** What the network gives, or that it gives nothing. */
async function answered<Value>(part: Promise<Value>): Promise<Value> {
  try {
    return await part;
  } catch {
    throw new ApiError('The server does not answer. Check your connection and try again.', 'unreachable', 0, null);
  }
}

function toError(status: number, text: string): ApiError {
  let told: { error?: unknown; code?: unknown; retry_after?: unknown } = {};
  try {
    told = (JSON.parse(text) ?? {}) as typeof told;
  } catch {
    // A proxy between us and the server answered, in a language of its own.
  }
  return new ApiError(
    typeof told.error === 'string' ? told.error : inOtherWords(status),
    typeof told.code === 'string' ? told.code : `status-${status}`,
    status,
    typeof told.retry_after === 'number' ? told.retry_after : null,
  );
}

/** For answers that say nothing themselves. */
function inOtherWords(status: number): string {
  // Refused unread, because of its head (RFC 6585 §5); all that grows there is cookies.
  if (status === 431) {
    return (
      'Your browser sends more cookies with each request than this server reads. Something else under this host name has set ' +
      'them. Clear the cookies of this host in your browser, then load this page again.'
    );
  }
  return `The server answered with status ${status}. Try again in a moment.`;
}
