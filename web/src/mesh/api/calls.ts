/** Every request the mesh agent's pages make. */

import { server } from './server';
import type * as Api from './types';

export const dashboard = () => server.request<Api.Dashboard>('GET', '/dashboard');
