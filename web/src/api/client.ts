/** One request to the server and back. What the requests mean stands in `calls.ts`. */

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

interface Holder {
  /** Proves that a change was asked for by this page (the session's cookie alone does not). */
  csrf: string | null;
  /** Called when the server no longer knows the session. */
  signedOut: () => void;
}

const holder: Holder = { csrf: null, signedOut: () => undefined };

/** After sign-in and sign-out. */
export function useCsrf(token: string | null): void {
  holder.csrf = token;
}

export function onSignedOut(handler: () => void): void {
  holder.signedOut = handler;
}

export async function request<Answer>(method: Method, path: string, body?: unknown): Promise<Answer> {
  const headers: Record<string, string> = { accept: 'application/json' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (method !== 'GET' && holder.csrf !== null) headers['x-csrf-token'] = holder.csrf;
  const init: RequestInit = { method, headers, credentials: 'same-origin', cache: 'no-store' };
  if (body !== undefined) init.body = JSON.stringify(body);

  let response: Response;
  let text: string;
  try {
    response = await fetch(`/api/v1${path}`, init);
    text = await response.text();
  } catch {
    throw new ApiError('The server does not answer. Check your connection and try again.', 'unreachable', 0, null);
  }
  if (response.ok) return (text === '' ? undefined : JSON.parse(text)) as Answer;
  const error = toError(response.status, text);
  if (error.code === 'signed-out') holder.signedOut();
  throw error;
}

function toError(status: number, text: string): ApiError {
  let told: { error?: unknown; code?: unknown; retry_after?: unknown } = {};
  try {
    told = (JSON.parse(text) ?? {}) as typeof told;
  } catch {
    // A proxy between us and the server answered, in a language of its own.
  }
  return new ApiError(
    typeof told.error === 'string' ? told.error : `The server answered with status ${status}. Try again in a moment.`,
    typeof told.code === 'string' ? told.code : `status-${status}`,
    status,
    typeof told.retry_after === 'number' ? told.retry_after : null,
  );
}
