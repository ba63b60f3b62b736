/** The local agent's interface. */

import { Server } from '../../api/client';
import { token } from '../lib/token';

export const server = new Server({
  base: '',
  credentials: (): Record<string, string> => {
    const text = token();
    return text === null ? {} : { authorization: `Bearer ${text}` };
  },
  signedOutCode: 'UNAUTHORIZED',
});
