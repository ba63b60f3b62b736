import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';
import { mockApi } from './dev/mock.mjs';
import { TRUSTED_TYPES } from './dev/policy.mjs';

/** Puts a `.br` and a `.gz` beside each built file, so that the server never compresses anything itself. */
function precompress(): Plugin {
  let outDir = '';
  return {
    name: 'precompress',
    apply: 'build',
    configResolved(config) {
      outDir = config.build.outDir;
    },
    async closeBundle() {
      const names = await readdir(outDir, { recursive: true });
      const texts = names.filter((name) => /\.(js|css|html|svg)$/.test(name));
      await Promise.all(
        texts.map(async (name) => {
          const path = join(outDir, name);
          const raw = await readFile(path);
          const params = { [constants.BROTLI_PARAM_SIZE_HINT]: raw.length };
          await writeFile(`${path}.br`, await promisify(brotliCompress)(raw, { params }));
          await writeFile(`${path}.gz`, await promisify(gzip)(raw, { level: constants.Z_BEST_COMPRESSION }));
        }),
      );
    },
  };
}

/** The paths of the local agent, which have no prefix, and those of a mesh agent. */
const AGENT_PATHS = '^/(tunnels|profiles|jump-hosts|sessions|hosts|settings|secrets|import|events|health|page|api)\\b';

/** `ADIT_AGENT=http://127.0.0.1:7070 npm run dev` works on the pages of that agent, or mesh agent. */
function runningAgent(target: string): Plugin {
  return {
    name: 'running-agent',
    apply: 'serve',
    // It answers no page but its own.
    config: () => ({ server: { proxy: { [AGENT_PATHS]: { target, changeOrigin: true, headers: { origin: target } } } } }),
  };
}

/** `npm run dev` answers the jump host's API from memory; none is needed to work on its pages. */
function mockServer(): Plugin {
  return {
    name: 'mock-server',
    apply: 'serve',
    configureServer(server) {
      server.middlewares.use(mockApi());
    },
    // The part of the server's policy that Vite's own scripts can live with.
    config: () => ({ server: { headers: { 'content-security-policy': TRUSTED_TYPES } } }),
  };
}

const agent = process.env.ADIT_AGENT;

export default defineConfig({
  plugins: [svelte(), precompress(), agent === undefined ? mockServer() : runningAgent(agent)],
  build: {
    // The oldest browsers with `light-dark()`, on which both themes rest.
    target: ['chrome123', 'firefox120', 'safari17.5'],
    // The polyfill would be an inline script; these browsers preload modules themselves.
    modulePreload: { polyfill: false },
    // A `data:` font or script would be refused by the content security policy; a file never is.
    assetsInlineLimit: 0,
  },
  test: { include: ['src/**/*.test.ts'] },
});
