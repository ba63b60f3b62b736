/** Streams of events, read with `fetch`: an `EventSource` sends no headers, and what says who asks is one. */

import { EventSourceParserStream } from 'eventsource-parser/stream';
import { ApiError, type Method, type Server } from './client';

export interface Source {
  server: Server;
  method?: Method;
  path: string;
  /**
   * Milliseconds. The server says something more often than that, if only a comment; a way that was cut while a machine slept says
   * nothing, not even that.
   */
  silence: number;
}

export interface Listener {
  /** The server has begun to tell. */
  opened: () => void;
  told: (event: string, data: string) => void;
}

/** Listens until `signal` ends it. A stream that does not begin, breaks, falls silent, or is ended by the server is an `ApiError`. */
export async function listen(source: Source, signal: AbortSignal, { opened, told }: Listener): Promise<void> {
  let response: Response;
  try {
    response = await source.server.send(source.method ?? 'GET', source.path, 'text/event-stream', { signal });
  } catch (error) {
    if (signal.aborted) return;
    throw error;
  }
  opened();
  let patience: ReturnType<typeof setTimeout> | undefined;
  const heard = () => {
    clearTimeout(patience);
    patience = setTimeout(() => void events?.cancel().catch(() => undefined), source.silence);
  };
  const parser = new EventSourceParserStream({ onComment: heard });
  const events = response.body?.pipeThrough(new TextDecoderStream()).pipeThrough(parser).getReader();
  try {
    for (;;) {
      heard();
      const next = await events?.read().catch(() => undefined);
      // What was on its way when the listener left is no longer wanted.
      if (signal.aborted) return;
      if (!next || next.done) throw new ApiError('The server no longer tells what changes.', 'unreachable', 0, null);
      told(next.value.event ?? 'message', next.value.data);
    }
  } finally {
    clearTimeout(patience);
  }
}
