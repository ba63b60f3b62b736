/** How a profile logs in, in words. */

import type { LoginMethod } from '../api/types';

export const METHODS: readonly { method: LoginMethod; title: string }[] = [
  { method: 'key', title: 'Key file' },
  { method: 'agent', title: 'Key of ssh-agent' },
  { method: 'password', title: 'Password' },
  { method: 'keyboard_interactive', title: 'Questions of the server (keyboard-interactive)' },
];

export function methodInWords(method: LoginMethod): string {
  return METHODS.find((one) => one.method === method)?.title ?? method;
}
