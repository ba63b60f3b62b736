/** One request to a server and back. What the requests mean stands with the role that has them. */

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
    /** The whole answer; some say more than why. */
    readonly told: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
  }
}

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** Leaves out what is empty: `?q=` would mean "named nothing" to nobody. */
export function query(values: Record<string, string | number | null | undefined>): string {
  const filled = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return filled.length === 0 ? '' : `?${new URLSearchParams(filled.map(([name, value]) => [name, String(value)]))}`;
}

export interface Setup {
  /** Before each path. */
  base: string;
  /** What says who asks; read anew for each request. */
  credentials: () => Record<string, string>;
  /** The code of the refusal that says: nobody we know. */
  signedOutCode: string;
}

/** The REST interface of one role. */
export class Server {
  readonly #setup: Setup;
  #signedOut: () => void = () => undefined;

  constructor(setup: Setup) {
    this.#setup = setup;
  }

  /** Called when the server no longer knows who asks. */
  onSignedOut(handler: () => void): void {
    this.#signedOut = handler;
  }

  async request<Answer>(method: Method, path: string, body?: unknown): Promise<Answer> {
    const response = await this.send(method, path, 'application/json', body === undefined ? {} : { body: JSON.stringify(body) });
    const text = await answered(response.text());
    return (text === '' ? undefined : JSON.parse(text)) as Answer;
  }

  /** A whole file: a link could not carry what says who asks. */
  async download(path: string): Promise<Blob> {
    const response = await this.send('GET', path, '*/*');
    return answered(response.blob());
  }

  /** The answer's head, when it is a success; its body is still to come. */
  async send(
    method: Method,
    path: string,
    accept: string,
    rest: { body?: string; signal?: AbortSignal } = {},
  ): Promise<Response> {
    const credentials = this.#setup.credentials();
    const headers: Record<string, string> = { accept, ...credentials };
    if (rest.body !== undefined) headers['content-type'] = 'application/json';
    const response = await answered(
      fetch(`${this.#setup.base}${path}`, { method, headers, credentials: 'same-origin', cache: 'no-store', ...rest }),
    );
    if (response.ok) return response;
    const error = toError(response.status, await answered(response.text()));
    // What was refused may be of yesterday: somebody has signed in, or got a new token, while the answer was under way.
    const outdated = JSON.stringify(credentials) !== JSON.stringify(this.#setup.credentials());
    if (error.code === this.#setup.signedOutCode && !outdated) this.#signedOut();
    throw error;
  }
}

/** What the network gives, or that it gives nothing. */
async function answered<Value>(part: Promise<Value>): Promise<Value> {
  try {
    return await part;
  } catch {
    throw new ApiError('The server does not answer. Check your connection and try again.', 'unreachable', 0, null);
  }
}

/** An error's text in an event is read as an answer's is. */
export function toError(status: number, text: string): ApiError {
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
    told as Record<string, unknown>,
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
