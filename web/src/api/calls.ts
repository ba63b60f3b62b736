/** Every request the page makes, by what it is for. */

import { download, request } from './client';
import type * as Api from './types';

type Query = Record<string, string | number | null | undefined>;

/** Leaves out what is empty: `?q=` would mean "named nothing" to nobody. */
export function query(values: Query): string {
  const filled = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return filled.length === 0 ? '' : `?${new URLSearchParams(filled.map(([name, value]) => [name, String(value)]))}`;
}

const part = encodeURIComponent;

/** Which part of a long list is wanted: what `q` finds, from the `offset`th on, `limit` at most. */
export type Window = { q: string; offset: number; limit: number };

export const signIn = {
  view: () => request<Api.SignInView>('GET', '/sign-in'),
  session: () => request<Api.SessionView>('GET', '/session'),
  begin: (account: string, password: string) =>
    request<Api.SessionView>('POST', '/session', { account, password } satisfies Api.PasswordSignIn),
  end: () => request<void>('DELETE', '/session'),
  endReplaced: (csrf: string) => request<void>('POST', '/session/replaced', { csrf } satisfies Api.ReplacedSession),
  lookAt: (token: string) =>
    request<Api.InvitationLookView>('POST', '/invitation/look', { token } satisfies Api.InvitationLook),
  accept: (token: string, account: string, password: string) =>
    request<Api.SessionView>('POST', '/invitation/accept', { token, account, password } satisfies Api.InvitationAccept),
};

export const me = {
  view: () => request<Api.MeView>('GET', '/me'),
  addKey: (key: Api.KeyRequest) => request<Api.KeyView>('POST', '/me/keys', key),
  removeKey: (fingerprint: string) => request<Api.KeyRemoved>('DELETE', `/me/keys/${part(fingerprint)}`),
  claimStatement: (text: string) =>
    request<Api.ClaimStatement>('POST', '/me/keys/claim-statement', { text } satisfies Api.AskClaimStatement),
  claimKey: (claim: Api.ClaimKey) =>
    request<Api.KeyView>('POST', '/me/keys/claim', claim),
  ports: (window: Window) => request<Api.PortPage>('GET', `/me/ports${query(window)}`),
  port: (port: number) => request<Api.PortPage>('GET', `/me/ports${query({ port })}`),
  registerPort: (port: Api.RegisterPort) =>
    request<Api.RegisteredPortView>('POST', '/me/ports', port),
  changePort: (id: string, change: Api.PortPatch) =>
    request<Api.RegisteredPortView>('PATCH', `/me/ports/${part(id)}`, change),
  removePort: (id: string) => request<void>('DELETE', `/me/ports/${part(id)}`),
  tunnels: () => request<Api.TunnelsView>('GET', '/me/tunnels'),
  closeSession: (session: number) => request<Api.Kicked>('DELETE', `/me/sessions/${session}`),
  traffic: (port: number) => request<Api.TrafficView>('GET', `/me/traffic${query({ port })}`),
  setPassword: (current: string, next: string) =>
    request<void>('PUT', '/me/password', { current, new: next } satisfies Api.ChangePassword),
  tokens: () => request<Api.TokenView[]>('GET', '/me/tokens'),
  addToken: (token: Api.TokenAdd) =>
    request<Api.NewTokenView>('POST', '/me/tokens', token),
  removeToken: (id: string) => request<void>('DELETE', `/me/tokens/${part(id)}`),
  directory: (window: Window) => request<Api.DirectoryPage>('GET', `/directory${query(window)}`),
};

export type AuditFilter = { kind?: string; account?: string; q?: string };

export const admin = {
  accounts: (window: Window) => request<Api.AccountPage>('GET', `/admin/accounts${query(window)}`),
  addAccount: (account: Api.NewAccount) =>
    request<Api.AccountView>('POST', '/admin/accounts', account),
  changeAccount: (name: string, change: Api.AccountPatch) =>
    request<Api.AccountView>('PATCH', `/admin/accounts/${part(name)}`, change),
  removeAccount: (name: string) =>
    request<Api.AccountRemoved>('DELETE', `/admin/accounts/${part(name)}`),
  passwordLink: (name: string) => request<Api.LinkView>('POST', `/admin/accounts/${part(name)}/password-link`),
  invitations: () => request<Api.InvitationView[]>('GET', '/admin/invitations'),
  invite: (invitation: Api.InvitationAdd) =>
    request<Api.LinkView>('POST', '/admin/invitations', invitation),
  revokeInvitation: (id: string) => request<void>('DELETE', `/admin/invitations/${part(id)}`),
  tiers: () => request<Api.TierView[]>('GET', '/admin/tiers'),
  setTier: (name: string, limits: Api.TierLimits) =>
    request<Api.TierView>('PUT', `/admin/tiers/${part(name)}`, { limits } satisfies Api.TierPut),
  removeTier: (name: string) => request<void>('DELETE', `/admin/tiers/${part(name)}`),
  sessions: (window: Window) => request<Api.LiveSessionsView>('GET', `/admin/sessions${query(window)}`),
  endSession: (id: number) => request<Api.Kicked>('DELETE', `/admin/sessions/${id}`),
  audit: (filter: AuditFilter & { before?: number; limit?: number }) =>
    request<Api.AuditPageView>('GET', `/admin/audit${query(filter)}`),
  auditCsv: (filter: AuditFilter) => download(`/admin/audit.csv${query(filter)}`),
  health: () => request<Api.HealthView>('GET', '/admin/health'),
  settings: () => request<Api.SettingView[]>('GET', '/admin/settings'),
};
