// Requests that no browser would send, and services to be reached.

import http from "node:http";
import net from "node:net";

export interface Answer {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: any;
}

function parsed(text: string): any {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** One request, every header as given. */
export async function ask(
  url: string,
  method: string,
  route: string,
  headers: http.OutgoingHttpHeaders = {},
  body?: unknown,
): Promise<Answer> {
  const response = await open(url, method, route, headers, body);
  let text = "";
  for await (const piece of response) text += piece;
  return { status: response.statusCode ?? 0, headers: response.headers, body: parsed(text) };
}

/** The answer's head, as soon as it is there; its body is a stream. */
export async function open(
  url: string,
  method: string,
  route: string,
  headers: http.OutgoingHttpHeaders = {},
  body?: unknown,
): Promise<http.IncomingMessage> {
  const typed = body === undefined ? headers : { "content-type": "application/json", ...headers };
  return new Promise((resolve, reject) => {
    const request = http.request(new URL(route, url), { method, headers: typed, agent: false }, resolve);
    request.on("error", reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** A web service that answers every request with the same text, and keeps the cookies it was sent. */
export async function serve(body: string): Promise<{ port: number; cookies: string[]; stop: () => void }> {
  const cookies: string[] = [];
  const server = http.createServer(({ headers }, response) => {
    if (headers.cookie !== undefined) cookies.push(headers.cookie);
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return { port: (server.address() as net.AddressInfo).port, cookies, stop };
}
