/** The built page over the mock API, with the headers the real server sends: what the page tests run against. */

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mockApi } from './mock.mjs';
import { POLICY } from './policy.mjs';

const PORT = Number(process.env.PORT ?? 4173);
const DIST = fileURLToPath(new URL('../dist', import.meta.url));

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

const api = mockApi();

createServer((request, response) => {
  void api(request, response, async () => {
    const { pathname } = new URL(request.url ?? '/', 'http://page');
    const path = normalize(pathname === '/' ? '/index.html' : pathname);
    const type = TYPES[/** @type {keyof typeof TYPES} */ (extname(path))];
    try {
      const raw = await readFile(join(DIST, path));
      response.writeHead(200, { 'content-type': type ?? 'application/octet-stream', 'content-security-policy': POLICY });
      response.end(raw);
    } catch {
      response.writeHead(404).end();
    }
  });
}).listen(PORT, '127.0.0.1', () => console.log(`http://127.0.0.1:${PORT}/`));
