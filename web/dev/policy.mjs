/** The content security policy that the real server sends. Svelte builds its templates through a policy of its own, which has that name. */

export const TRUSTED_TYPES = "require-trusted-types-for 'script'; trusted-types svelte-trusted-html";

export const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  TRUSTED_TYPES,
].join('; ');
