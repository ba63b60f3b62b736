/**
 * What the agent says, by the names this page uses. The shapes come from its committed description (`npm run generate`), so that a
 * change there which this page does not follow fails `npm run check`.
 */

import type { components } from './schema';

type Schemas = components['schemas'];

export type Status = 'disconnected' | 'connecting' | 'connected' | 'reconnecting' | 'failed';

export type ForwardKind = Schemas['ForwardKind'];
export type ForwardView = Schemas['ForwardView'];
export type NewForward = Schemas['NewForward'];
export type JumpView = Schemas['JumpView'];
export type NewTunnel = Schemas['NewTunnel'];
export type TunnelPatch = Schemas['TunnelPatch'];
export type TunnelRecord = Schemas['TunnelRecord'];
export type TunnelRow = Schemas['TunnelRow'];
export type TunnelState = Schemas['TunnelState'];
export type ConnectionView = Schemas['ConnectionView'];
export type LogEntry = Schemas['LogEntry'];
export type StepView = Schemas['StepView'];
export type TrialView = Schemas['TrialView'];
export type TrialFailed = Schemas['TrialFailed'];
export type LoginMethod = Schemas['LoginMethod'];
export type ProfileView = Schemas['ProfileView'];
export type NewProfile = Schemas['NewProfile'];
export type ProfilePatch = Schemas['ProfilePatch'];
export type JumpHostView = Schemas['JumpHostView'];
export type NewJumpHost = Schemas['NewJumpHost'];
export type JumpHostPatch = Schemas['JumpHostPatch'];
export type SessionRow = Schemas['SessionRow'];
export type SessionRecord = Schemas['SessionRecord'];
export type SessionState = Schemas['SessionState'];
export type NewSession = Schemas['NewSession'];
export type SessionPatch = Schemas['SessionPatch'];
export type SettingsView = Schemas['SettingsView'];
export type SettingsPatch = Schemas['SettingsPatch'];
export type SecretsView = Schemas['SecretsView'];
export type MoveKey = Schemas['MoveKey'];
export type UnknownHost = Schemas['UnknownHost'];
export type ImportedHost = Schemas['ImportedHost'];
export type SshHosts = Schemas['SshHosts'];
export type RecordName = Schemas['RecordName'];
export type PageView = Schemas['PageView'];
export type PageToken = Schemas['PageToken'];
export type Enter = Schemas['Enter'];
export type Trust = Schemas['Trust'];
export type Reject = Schemas['Reject'];
