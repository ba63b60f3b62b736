/** The limits a tier may set, in the words of the page. */

import type { LimitsView } from '../api/types';

export interface Limit {
  name: keyof LimitsView;
  /** For a form. */
  title: string;
  /** For the head of a column. */
  short: string;
  unit: 'number' | 'rate';
}

export const LIMITS: readonly Limit[] = [
  { name: 'forwards_per_account', title: 'Ports at a time, per account', short: 'Ports', unit: 'number' },
  { name: 'visitors_per_port', title: 'Visitors, per port', short: 'Visitors / port', unit: 'number' },
  { name: 'visitors_per_account', title: 'Visitors, per account', short: 'Visitors / account', unit: 'number' },
  { name: 'bytes_per_second_to_owner', title: 'Rate towards the owner', short: 'To owner', unit: 'rate' },
  { name: 'bytes_per_second_to_visitors', title: 'Rate towards visitors', short: 'To visitors', unit: 'rate' },
];
