/** What the server's committed description says a request may hold: the real one refuses a field it does not know. */

import { readFileSync } from 'node:fs';

/** @type {{ paths: Record<string, any>, components: { schemas: Record<string, any> } }} */
const API = JSON.parse(readFileSync(new URL('../../crates/api/openapi.json', import.meta.url), 'utf8'));

/** @param {any} schema @returns {any} */
const resolved = (schema) => (schema?.$ref ? resolved(API.components.schemas[schema.$ref.split('/').at(-1)]) : schema);

/** @param {string} template @param {string[]} path */
function fits(template, path) {
  const parts = template.replace('/api/v1/', '').split('/');
  return parts.length === path.length && parts.every((part, index) => part.startsWith('{') || part === path[index]);
}

/**
 * The first thing about a request that the description lacks, or null.
 * @param {string} method @param {string[]} path @param {URLSearchParams} query @param {unknown} body
 */
export function unknownTo(method, path, query, body) {
  // A fixed path before one with a place for a name: `/me/keys/claim` also fits `/me/keys/{fingerprint}`.
  const templates = Object.keys(API.paths).sort((a, b) => Number(a.includes('{')) - Number(b.includes('{')));
  const verb = method.toLowerCase();
  const operation = templates.map((template) => fits(template, path) && API.paths[template][verb]).find(Boolean);
  if (!operation) return `${method} /${path.join('/')}`;
  /** @type {{ name: string, in: string }[]} */
  const parameters = operation.parameters ?? [];
  const known = parameters.filter((parameter) => parameter.in === 'query').map((parameter) => parameter.name);
  for (const name of query.keys()) if (!known.includes(name)) return `the parameter ${name}`;
  return unknownField(body, operation.requestBody?.content['application/json']?.schema);
}

/** @param {unknown} value @param {any} schema @returns {string | null} */
function unknownField(value, schema) {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return null;
  const properties = resolved(schema)?.properties ?? {};
  for (const [name, inner] of Object.entries(value)) {
    if (!(name in properties)) return `the field ${name}`;
    const found = unknownField(inner, properties[name]);
    if (found) return found;
  }
  return null;
}
