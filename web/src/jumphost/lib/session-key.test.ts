import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { acceptSessionKey, expectSessionKey, forgetSessionKey, keepSessionKey, sessionKey } from './session-key';

const NOW = 1_000_000_000_000;
const MINUTE = 60_000;

/** What a browser gives a page, or refuses it. */
function storage(works = true): Storage {
  const kept = new Map<string, string>();
  const open = () => {
    if (!works) throw new Error('storage is switched off');
    return kept;
  };
  return {
    getItem: (name: string) => open().get(name) ?? null,
    setItem: (name: string, value: string) => void open().set(name, value),
    removeItem: (name: string) => void open().delete(name),
  } as unknown as Storage;
}

beforeEach(() => vi.stubGlobal('localStorage', storage()));
afterEach(() => vi.unstubAllGlobals());

test('a key is kept until it is forgotten', () => {
  expect(sessionKey()).toBeNull();
  keepSessionKey('one');
  expect(sessionKey()).toBe('one');
  forgetSessionKey();
  expect(sessionKey()).toBeNull();
});

test('what another tab keeps or forgets holds here at once', () => {
  keepSessionKey('one');
  localStorage.setItem('adit.session-key', 'two');
  expect(sessionKey()).toBe('two');
  localStorage.removeItem('adit.session-key');
  expect(sessionKey()).toBeNull();
});

test('without storage the key lives as long as the page', () => {
  vi.stubGlobal('localStorage', storage(false));
  keepSessionKey('one');
  expect(sessionKey()).toBe('one');
  forgetSessionKey();
  expect(sessionKey()).toBeNull();
});

test('a key in the address is taken when the person went to the provider from here', () => {
  expectSessionKey(NOW);
  expect(acceptSessionKey('one', NOW + MINUTE)).toBe(true);
  expect(sessionKey()).toBe('one');
});

test('a key in the address that nobody waits for replaces nothing', () => {
  keepSessionKey('mine');
  expect(acceptSessionKey('of a stranger', NOW)).toBe(false);
  expect(sessionKey()).toBe('mine');
});

test('a key is waited for once, and not for ever', () => {
  expectSessionKey(NOW);
  expect(acceptSessionKey('one', NOW + 11 * MINUTE)).toBe(false);
  expectSessionKey(NOW);
  expect(acceptSessionKey('', NOW)).toBe(false);
  expect(acceptSessionKey('two', NOW)).toBe(false);
  expect(sessionKey()).toBeNull();
});
