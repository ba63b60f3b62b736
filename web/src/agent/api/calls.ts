/** Every request the agent's pages make, by what it is for. */

import { server } from './server';
import type * as Api from './types';

const part = encodeURIComponent;

export const page = {
  view: () => server.request<Api.PageView>('GET', '/page'),
  enter: (code: string) => server.request<Api.PageToken>('POST', '/page/enter', { code } satisfies Api.Enter),
  replaceToken: () => server.request<Api.PageToken>('PUT', '/page/token'),
};

export const tunnels = {
  list: () => server.request<Api.TunnelRow[]>('GET', '/tunnels'),
  add: (tunnel: Api.NewTunnel) => server.request<Api.TunnelRecord>('POST', '/tunnels', tunnel),
  change: (id: string, change: Api.TunnelPatch) => server.request<Api.TunnelRecord>('PUT', `/tunnels/${part(id)}`, change),
  remove: (id: string) => server.request<void>('DELETE', `/tunnels/${part(id)}`),
  start: (id: string) => server.request<Api.TunnelState>('POST', `/tunnels/${part(id)}/start`),
  stop: (id: string) => server.request<Api.TunnelState>('POST', `/tunnels/${part(id)}/stop`),
  reconnect: (id: string) => server.request<Api.TunnelState>('POST', `/tunnels/${part(id)}/reconnect`),
  stopAll: () => server.request<Api.TunnelState[]>('POST', '/tunnels/stop-all'),
  log: (after: number) => server.request<Api.LogEntry[]>('GET', `/tunnels/log?after=${after}`),
  connections: (id: string) => server.request<Api.ConnectionView[]>('GET', `/tunnels/${part(id)}/connections`),
  closeConnection: (id: string, number: number) =>
    server.request<void>('DELETE', `/tunnels/${part(id)}/connections/${number}`),
};

export const profiles = {
  list: () => server.request<Api.ProfileView[]>('GET', '/profiles'),
  add: (profile: Api.NewProfile) => server.request<Api.ProfileView>('POST', '/profiles', profile),
  change: (id: string, change: Api.ProfilePatch) => server.request<Api.ProfileView>('PUT', `/profiles/${part(id)}`, change),
  remove: (id: string) => server.request<void>('DELETE', `/profiles/${part(id)}`),
};

export const jumpHosts = {
  list: () => server.request<Api.JumpHostView[]>('GET', '/jump-hosts'),
  add: (jumpHost: Api.NewJumpHost) => server.request<Api.JumpHostView>('POST', '/jump-hosts', jumpHost),
  change: (id: string, change: Api.JumpHostPatch) => server.request<Api.JumpHostView>('PUT', `/jump-hosts/${part(id)}`, change),
  remove: (id: string) => server.request<void>('DELETE', `/jump-hosts/${part(id)}`),
};

export const sessions = {
  list: () => server.request<Api.SessionRow[]>('GET', '/sessions'),
  add: (session: Api.NewSession) => server.request<Api.SessionRecord>('POST', '/sessions', session),
  change: (id: string, change: Api.SessionPatch) => server.request<Api.SessionRecord>('PUT', `/sessions/${part(id)}`, change),
  remove: (id: string) => server.request<void>('DELETE', `/sessions/${part(id)}`),
  connect: (id: string) => server.request<Api.SessionRow>('POST', `/sessions/${part(id)}/connect`),
  disconnect: (id: string) => server.request<Api.SessionRow>('POST', `/sessions/${part(id)}/disconnect`),
};

export const hosts = {
  unknown: () => server.request<Api.UnknownHost[]>('GET', '/hosts/unknown'),
  trust: (trust: Api.Trust) => server.request<void>('POST', '/hosts/trust', trust),
  reject: (reject: Api.Reject) => server.request<void>('POST', '/hosts/reject', reject),
};

export const settings = {
  view: () => server.request<Api.SettingsView>('GET', '/settings'),
  change: (change: Api.SettingsPatch) => server.request<Api.SettingsView>('PUT', '/settings', change),
};

export const secrets = {
  view: () => server.request<Api.SecretsView>('GET', '/secrets'),
  unlock: (passphrase: string | null) => server.request<void>('POST', '/secrets/unlock', passphrase === null ? {} : { passphrase }),
  moveKey: (place: Api.MoveKey) => server.request<void>('PUT', '/secrets/key', place),
};

export const sshConfig = {
  hosts: () => server.request<Api.SshHosts>('GET', '/import/ssh-config'),
  take: (hosts: string[]) => server.request<Api.ImportedHost[]>('POST', '/import/ssh-config', { hosts }),
};
