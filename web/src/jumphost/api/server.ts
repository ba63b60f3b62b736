/** The jump host's interface, and which of its sessions asks. */

import { Server } from '../../api/client';
import { sessionKey } from '../lib/session-key';

export const server = new Server({
  base: '/api/v1',
  credentials: (): Record<string, string> => {
    const key = sessionKey();
    return key === null ? {} : { 'x-csrf-token': key };
  },
  signedOutCode: 'signed-out',
});
