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

/** `npm run dev` answers the API from memory; no jump host is needed to work on the page. */
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

export default defineConfig({
  plugins: [svelte(), precompress(), mockServer()],
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
