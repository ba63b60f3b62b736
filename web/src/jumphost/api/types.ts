/**
 * What the server says, by the names this page uses. The shapes come from the server's committed description (`npm run generate`),
 * so that a change there which this page does not follow fails `npm run check`. What may be null may also be left out.
 */

import type { components } from './schema';

type Schemas = components['schemas'];

export type SignInView = Schemas['SignInView'];
export type PasswordSignIn = Schemas['PasswordSignIn'];
export type ReplacedSession = Schemas['ReplacedSession'];
export type SessionView = Schemas['WebSessionView'];
export type InvitationLook = Schemas['InvitationLook'];
export type InvitationAccept = Schemas['InvitationAccept'];
export type InvitationLookView = Schemas['InvitationLookView'];
export type LimitsView = Schemas['LimitsView'];
export type ConnectionView = Schemas['ConnectionView'];
export type KeyView = Schemas['KeyView'];
export type KeyRequest = Schemas['AddKey'];
export type KeyRemoved = Schemas['KeyRemoved'];
export type AskClaimStatement = Schemas['AskClaimStatement'];
export type ClaimStatement = Schemas['ClaimStatement'];
export type ClaimKey = Schemas['ClaimKey'];
export type RegisterPort = Schemas['RegisterPort'];
export type PortPatch = Schemas['PortPatch'];
export type RegisteredPortView = Schemas['RegisteredPortView'];
export type ChangePassword = Schemas['ChangePassword'];
export type MeView = Schemas['MeView'];
export type TunnelView = Schemas['TunnelView'];
export type RefusalView = Schemas['RefusalView'];
export type TunnelsView = Schemas['TunnelsView'];
export type TrafficView = Schemas['TrafficView'];
export type Scope = Schemas['Scope'];
export type TokenView = Schemas['TokenView'];
export type TokenAdd = Schemas['TokenAdd'];
export type NewTokenView = Schemas['TokenMade'];
export type PortPage = Schemas['PortPage'];
export type DirectoryEntryView = Schemas['DirectoryEntry'];
export type DirectoryPage = Schemas['DirectoryPage'];

export type AccountView = Schemas['AccountView'];
export type AccountPage = Schemas['AccountPage'];
export type AccountPatch = Schemas['AccountPatch'];
export type AccountRemoved = Schemas['AccountRemoved'];
export type NewAccount = Schemas['NewAccount'];
/** A one-time link: an invitation, or to a new password. */
export type LinkView = Schemas['InvitationMade'];
export type InvitationView = Schemas['InvitationView'];
export type InvitationAdd = Schemas['InvitationAdd'];
/** `null` is "as the server's default", 0 is "none". */
export type TierLimits = Schemas['TierLimits'];
export type TierPut = Schemas['TierPut'];
export type TierView = Schemas['Tier'];
export type LiveSessionView = Schemas['SessionView'];
export type LiveSessionsView = Schemas['SessionPage'];
export type AuditEntryView = Schemas['AuditView'];
export type AuditPageView = Schemas['AuditPage'];
export type HealthView = Schemas['HealthView'];
export type SettingView = Schemas['SettingView'];
export type Kicked = Schemas['Kicked'];
