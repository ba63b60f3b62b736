/** Settings in the words of people. The server tells them as they are typed (`7776000s`), so that they can be typed again. */

import { bandwidth } from './bandwidth';
import { count } from './format';

const TIMES: readonly [name: string, milliseconds: number][] = [
  ['day', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
  ['ms', 1],
];

const SIZES: readonly [name: string, bytes: number][] = [
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
];

/** Those of which 0 means that there is no end. */
const ENDLESS: ReadonlySet<string> = new Set(['audit_keep', 'idle_without_forward']);

/** The value of the setting `name` as people say it, exactly; as it was told where there is no better way to say it. */
export function settingInWords(name: string, value: string): string {
  if (value === '') return 'none';
  if (value === '0' && ENDLESS.has(name)) return 'for ever';
  if (value === '0' && name.startsWith('limits.')) return 'no limit';
  const [, digits = '', unit = ''] = /^(\d+)(ms|s|)$/.exec(value) ?? [];
  if (digits === '') return value;
  const number = Number(digits);
  if (unit !== '') return time(unit === 's' ? number * 1_000 : number);
  if (name.includes('bandwidth')) return bandwidth(number);
  if (name.endsWith('_bytes')) return size(number);
  return count(number);
}

/** In the largest unit that says it exactly: `90 s` is not a minute. */
function time(milliseconds: number): string {
  const [name, length] = TIMES.find(([, length]) => milliseconds >= length && milliseconds % length === 0) ?? ['ms', 1];
  const number = milliseconds / length;
  return `${count(number)} ${name === 'day' && number !== 1 ? 'days' : name}`;
}

function size(bytes: number): string {
  const [name, length] = SIZES.find(([, length]) => bytes >= length && bytes % length === 0) ?? ['bytes', 1];
  return `${count(bytes / length)} ${name}`;
}
