/** The mesh agent's interface. Whoever is on its machine may look: what this page asks takes no token. */

import { Server } from '../../api/client';

export const server = new Server({ base: '/api', credentials: () => ({}), signedOutCode: 'UNAUTHORIZED' });
