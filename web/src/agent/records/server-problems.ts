/** What is wrong with the fields that every server has: a tunnel's, a session's, a jump host's. */

export interface ServerFields {
  name: string;
  host: string;
  port: number | null;
  profileId: string;
}

export type ServerField = 'name' | 'host' | 'port' | 'profile';

export function serverProblems({ name, host, port, profileId }: ServerFields): Partial<Record<ServerField, string>> {
  const found: Partial<Record<ServerField, string>> = {};
  if (name.trim() === '') found.name = 'It needs a name, so that you find it again.';
  if (host.trim() === '') found.host = 'Which SSH server is it? Its name or address.';
  if (port === null || !Number.isInteger(port) || port < 1 || port > 65_535) found.port = 'A port is a number from 1 to 65535.';
  if (profileId === '') found.profile = 'Somebody has to log in: choose a profile, or make one.';
  return found;
}
