/** What the mesh agent says, by the names this page uses; the shapes come from its committed description (`npm run generate`). */

import type { components } from './schema';

type Schemas = components['schemas'];

export type AgentView = Schemas['AgentView'];
export type Carrier = Schemas['Carrier'];
export type Dashboard = Schemas['Dashboard'];
export type ForwardRoute = Schemas['ForwardRoute'];
export type ForwardState = Schemas['ForwardState'];
export type LinkView = Schemas['LinkView'];
export type PeerView = Schemas['PeerView'];
export type RouteView = Schemas['RouteView'];
export type Stats = Schemas['Stats'];
