-- A page that has only the key of the session before it ends that one by it: one look instead of a walk through all sessions.
CREATE INDEX web_sessions_by_key ON web_sessions (csrf);
