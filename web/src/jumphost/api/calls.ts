/** Every request the page makes, by what it is for. */

import { query } from '../../api/client';
import type { Window } from '../../state/paged.svelte';
import { server } from './server';
import type * as Api from './types';

const part = encodeURIComponent;

export const signIn = {
  view: () => server.request<Api.SignInView>('GET', '/sign-in'),
  session: () => server.request<Api.SessionView>('GET', '/session'),
  begin: (account: string, password: string) =>
    server.request<Api.SessionView>('POST', '/session', { account, password } satisfies Api.PasswordSignIn),
  end: () => server.request<void>('DELETE', '/session'),
  endReplaced: (csrf: string) => server.request<void>('POST', '/session/replaced', { csrf } satisfies Api.ReplacedSession),
  lookAt: (token: string) =>
    server.request<Api.InvitationLookView>('POST', '/invitation/look', { token } satisfies Api.InvitationLook),
  accept: (token: string, account: string, password: string) =>
    server.request<Api.SessionView>('POST', '/invitation/accept', { token, account, password } satisfies Api.InvitationAccept),
};

export const me = {
  view: () => server.request<Api.MeView>('GET', '/me'),
  addKey: (key: Api.KeyRequest) => server.request<Api.KeyView>('POST', '/me/keys', key),
  removeKey: (fingerprint: string) => server.request<Api.KeyRemoved>('DELETE', `/me/keys/${part(fingerprint)}`),
  claimStatement: (text: string) =>
    server.request<Api.ClaimStatement>('POST', '/me/keys/claim-statement', { text } satisfies Api.AskClaimStatement),
  claimKey: (claim: Api.ClaimKey) =>
    server.request<Api.KeyView>('POST', '/me/keys/claim', claim),
  ports: (window: Window) => server.request<Api.PortPage>('GET', `/me/ports${query(window)}`),
  port: (port: number) => server.request<Api.PortPage>('GET', `/me/ports${query({ port })}`),
  registerPort: (port: Api.RegisterPort) =>
    server.request<Api.RegisteredPortView>('POST', '/me/ports', port),
  changePort: (id: string, change: Api.PortPatch) =>
    server.request<Api.RegisteredPortView>('PATCH', `/me/ports/${part(id)}`, change),
  removePort: (id: string) => server.request<void>('DELETE', `/me/ports/${part(id)}`),
  tunnels: () => server.request<Api.TunnelsView>('GET', '/me/tunnels'),
  closeSession: (session: number) => server.request<Api.Kicked>('DELETE', `/me/sessions/${session}`),
  traffic: (port: number) => server.request<Api.TrafficView>('GET', `/me/traffic${query({ port })}`),
  setPassword: (current: string, next: string) =>
    server.request<void>('PUT', '/me/password', { current, new: next } satisfies Api.ChangePassword),
  tokens: () => server.request<Api.TokenView[]>('GET', '/me/tokens'),
  addToken: (token: Api.TokenAdd) =>
    server.request<Api.NewTokenView>('POST', '/me/tokens', token),
  removeToken: (id: string) => server.request<void>('DELETE', `/me/tokens/${part(id)}`),
  directory: (window: Window) => server.request<Api.DirectoryPage>('GET', `/directory${query(window)}`),
};

export type AuditFilter = { kind?: string; account?: string; q?: string };

export const admin = {
  accounts: (window: Window) => server.request<Api.AccountPage>('GET', `/admin/accounts${query(window)}`),
  addAccount: (account: Api.NewAccount) =>
    server.request<Api.AccountView>('POST', '/admin/accounts', account),
  changeAccount: (name: string, change: Api.AccountPatch) =>
    server.request<Api.AccountView>('PATCH', `/admin/accounts/${part(name)}`, change),
  removeAccount: (name: string) =>
    server.request<Api.AccountRemoved>('DELETE', `/admin/accounts/${part(name)}`),
  passwordLink: (name: string) => server.request<Api.LinkView>('POST', `/admin/accounts/${part(name)}/password-link`),
  invitations: () => server.request<Api.InvitationView[]>('GET', '/admin/invitations'),
  invite: (invitation: Api.InvitationAdd) =>
    server.request<Api.LinkView>('POST', '/admin/invitations', invitation),
  revokeInvitation: (id: string) => server.request<void>('DELETE', `/admin/invitations/${part(id)}`),
  tiers: () => server.request<Api.TierView[]>('GET', '/admin/tiers'),
  setTier: (name: string, limits: Api.TierLimits) =>
    server.request<Api.TierView>('PUT', `/admin/tiers/${part(name)}`, { limits } satisfies Api.TierPut),
  removeTier: (name: string) => server.request<void>('DELETE', `/admin/tiers/${part(name)}`),
  sessions: (window: Window) => server.request<Api.LiveSessionsView>('GET', `/admin/sessions${query(window)}`),
  endSession: (id: number) => server.request<Api.Kicked>('DELETE', `/admin/sessions/${id}`),
  audit: (filter: AuditFilter & { before?: number; limit?: number }) =>
    server.request<Api.AuditPageView>('GET', `/admin/audit${query(filter)}`),
  auditCsv: (filter: AuditFilter) => server.download(`/admin/audit.csv${query(filter)}`),
  health: () => server.request<Api.HealthView>('GET', '/admin/health'),
  settings: () => server.request<Api.SettingView[]>('GET', '/admin/settings'),
};
