//! One login's way through a profile's methods.

use std::collections::VecDeque;

use adit_ssh::crypto::{Fingerprint, PublicKey};
use adit_ssh::{AuthFailure, AuthMethod, AuthRefusal, Credential, Prompts, SignatureRequest};
use zeroize::Zeroizing;

use super::{CredentialError, Credentials, Prepared, Ready};
use crate::link::LinkEnd;
use crate::ssh_agent::SshAgent;

/// Keys of an agent that are offered; OpenSSH's server hangs up after six.
const MAX_AGENT_KEYS: usize = 16;

/// What is left to be tried, and what was.
pub(crate) struct Attempts<'a> {
    credentials: &'a Credentials,
    ready: VecDeque<Ready>,
    missing: Vec<CredentialError>,
    /// The agent whose keys are being offered.
    agent: Option<SshAgent>,
    agent_keys: VecDeque<PublicKey>,
    /// Answers one hidden question, once.
    password: Option<Zeroizing<String>>,
    /// The methods the server named last.
    takes: Vec<String>,
    tried: Vec<String>,
    /// The server has said no to something.
    was_refused: bool,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(credentials: &'a Credentials, prepared: Prepared) -> Self {
        Self {
            credentials,
            ready: prepared.ready.into(),
            missing: prepared.missing,
            agent: None,
            agent_keys: VecDeque::new(),
            password: None,
            takes: Vec::new(),
            tried: Vec::new(),
            was_refused: false,
        }
    }

    /// The next thing to try, of the methods the server takes; `None` when there is nothing left.
    pub(crate) async fn next(&mut self) -> Option<Credential> {
        let named = std::mem::take(&mut self.takes);
        let next = self.next_of(|method| named.iter().any(|taken| taken == method)).await;
        self.takes = named;
        next
    }

    async fn next_of(&mut self, takes: impl Fn(&str) -> bool) -> Option<Credential> {
        self.password = None;
        loop {
            if let Some(key) = self.agent_keys.pop_front().filter(|_| takes("publickey")) {
                return Some(Credential::Signer { key, probe: true });
            }
            match self.ready.pop_front()? {
                Ready::Key(key) if takes("publickey") => return Some(Credential::Key { key, probe: false }),
                Ready::SshAgent { agent, only } if takes("publickey") => self.ask_agent(agent, only).await,
                Ready::Password(password) if takes("password") => return Some(Credential::Password(password)),
                Ready::Password(password) if takes("keyboard-interactive") => {
                    self.password = Some(password);
                    return Some(Credential::KeyboardInteractive);
                }
                Ready::KeyboardInteractive if takes("keyboard-interactive") => {
                    return Some(Credential::KeyboardInteractive);
                }
                _ => {}
            }
        }
    }

    async fn ask_agent(&mut self, agent: SshAgent, only: Option<Fingerprint>) {
        match agent.identities().await {
            Ok(keys) => {
                let wanted = |key: &PublicKey| only.is_none_or(|only| key.fingerprint() == only);
                self.agent_keys = keys.into_iter().filter(wanted).take(MAX_AGENT_KEYS).collect();
                if self.agent_keys.is_empty() {
                    self.tried.push("the ssh-agent holds no such key".to_owned());
                }
                self.agent = Some(agent);
            }
            Err(error) => self.tried.push(error.to_string()),
        }
    }

    pub(crate) async fn sign(&mut self, request: &SignatureRequest) -> Option<Vec<u8>> {
        match self.agent.as_ref()?.sign(&request.key, request.algorithm, &request.message).await {
            Ok(signature) => Some(signature),
            Err(error) => {
                self.tried.push(error.to_string());
                None
            }
        }
    }

    /// The stored password where the server asks exactly one hidden question; nothing where it asks nothing. `None`: a person has
    /// to say.
    pub(crate) fn answer(&mut self, prompts: &Prompts) -> Option<Vec<Zeroizing<String>>> {
        match &prompts.prompts[..] {
            [] => Some(Vec::new()),
            [only] if !only.echo => self.password.take().map(|password| vec![password]),
            _ => None,
        }
    }

    /// Remembers how a try went.
    pub(crate) fn note(&mut self, failure: &AuthFailure) {
        self.takes.clone_from(&failure.methods_left);
        let method = match &failure.tried {
            AuthMethod::None => return,
            AuthMethod::PublicKey(key) => format!("key {}", key.fingerprint()),
            other => other.name().to_owned(),
        };
        self.was_refused |= matches!(failure.why, AuthRefusal::Refused | AuthRefusal::KeyRefused);
        let how = match &failure.why {
            AuthRefusal::Refused | AuthRefusal::KeyRefused => "refused",
            AuthRefusal::PartialSuccess => "not enough by itself",
            AuthRefusal::NoSignatureAlgorithm => "the server verifies no signature this key can make",
            AuthRefusal::NotSigned => "not signed",
            AuthRefusal::PasswordExpired { .. } => "expired; change it with another program",
        };
        self.tried.push(format!("{method}: {how}"));
    }

    /// The server asked, and there was no answer: it asks again where a password was wrong.
    pub(crate) fn note_unanswered(&mut self) {
        self.tried.push("keyboard-interactive: nobody is there to answer what it asks".to_owned());
    }

    /// The connection ended within the login. Where the server said goodbye after it had refused something, it will do so again, and
    /// trying on would lock the account out. An end without a word may be the network's.
    pub(crate) fn cut_off(&self, user: &str, why: LinkEnd) -> Result<CredentialError, LinkEnd> {
        if !self.was_refused || !matches!(why, LinkEnd::ByServer(_)) {
            return Err(why);
        }
        let (profile, tried) = (self.credentials.profile.clone(), self.tried.join(", "));
        Ok(CredentialError::CutOff { profile, user: user.to_owned(), tried, why })
    }

    /// Nothing is left: why nobody is in. A secret that was missing comes first, for that can be helped.
    pub(crate) fn refused(&mut self, user: &str) -> CredentialError {
        if !self.missing.is_empty() {
            return self.missing.swap_remove(0);
        }
        let told = |list: &[String], none: &str| if list.is_empty() { none.to_owned() } else { list.join(", ") };
        CredentialError::Refused {
            profile: self.credentials.profile.clone(),
            user: user.to_owned(),
            tried: told(&self.tried, "nothing of it could be tried"),
            takes: told(&self.takes, "nothing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Method;
    use adit_core::RecordId;
    use adit_ssh::Prompt;

    fn credentials() -> Credentials {
        Credentials { profile: "core".into(), id: RecordId::from("prof_1"), methods: vec![Method::Password] }
    }

    fn attempts(credentials: &Credentials, ready: Vec<Ready>) -> Attempts<'_> {
        Attempts::new(credentials, Prepared { ready, missing: Vec::new() })
    }

    fn password() -> Ready {
        Ready::Password(Zeroizing::new("secret".to_owned()))
    }

    fn refused(tried: AuthMethod, takes: &[&str]) -> AuthFailure {
        let methods_left = takes.iter().map(|method| (*method).to_owned()).collect();
        AuthFailure { tried, why: AuthRefusal::Refused, methods_left }
    }

    fn prompts(echoes: &[bool]) -> Prompts {
        let prompts = echoes.iter().map(|echo| Prompt { text: "Password: ".to_owned(), echo: *echo }).collect();
        Prompts { name: String::new(), instruction: String::new(), prompts }
    }

    fn answered(answers: Option<Vec<Zeroizing<String>>>) -> Option<Vec<String>> {
        answers.map(|answers| answers.iter().map(|answer| answer.to_string()).collect())
    }

    #[tokio::test]
    async fn a_password_goes_by_the_method_the_server_takes() {
        let credentials = credentials();
        let mut plain = attempts(&credentials, vec![password()]);
        plain.note(&refused(AuthMethod::None, &["publickey", "password", "keyboard-interactive"]));
        assert!(matches!(plain.next().await, Some(Credential::Password(password)) if *password == "secret"));
        assert!(plain.answer(&prompts(&[false])).is_none(), "it was not asked for in this way");

        let mut asked = attempts(&credentials, vec![password()]);
        asked.note(&refused(AuthMethod::None, &["publickey", "keyboard-interactive"]));
        assert!(matches!(asked.next().await, Some(Credential::KeyboardInteractive)));
        assert_eq!(answered(asked.answer(&prompts(&[]))), Some(vec![]));
        assert_eq!(answered(asked.answer(&prompts(&[true]))), None, "a question that is not hidden is another one");
        assert_eq!(answered(asked.answer(&prompts(&[false, false]))), None);
        assert_eq!(answered(asked.answer(&prompts(&[false]))), Some(vec!["secret".to_owned()]));
        assert_eq!(answered(asked.answer(&prompts(&[false]))), None, "it was wrong, or is enough");

        let mut none = attempts(&credentials, vec![password()]);
        none.note(&refused(AuthMethod::None, &["publickey"]));
        assert!(none.next().await.is_none());
    }

    #[test]
    fn only_a_server_that_refused_and_said_goodbye_is_not_called_again() {
        let credentials = credentials();
        let goodbye = || LinkEnd::ByServer("Too many authentication failures".into());
        let after = |why: Option<AuthRefusal>, end: LinkEnd| {
            let mut tried = attempts(&credentials, Vec::new());
            tried.tried.push("the ssh-agent holds no such key".to_owned());
            if let Some(why) = why {
                tried.note(&AuthFailure { tried: AuthMethod::Password, why, methods_left: Vec::new() });
            }
            tried.cut_off("alice", end).is_ok()
        };
        assert!(after(Some(AuthRefusal::Refused), goodbye()) && after(Some(AuthRefusal::KeyRefused), goodbye()));
        assert!(!after(None, goodbye()), "it may be going down");
        assert!(!after(Some(AuthRefusal::PartialSuccess), goodbye()));
        assert!(!after(Some(AuthRefusal::Refused), LinkEnd::Closed), "so does a jump whose network broke");
    }

    #[tokio::test]
    async fn methods_are_tried_in_their_order_and_named_in_the_refusal() {
        let key = adit_ssh::crypto::PrivateKey::generate_ed25519().unwrap();
        let credentials = credentials();
        let ready = vec![Ready::Key(key.clone()), password(), Ready::KeyboardInteractive];
        let mut attempts = attempts(&credentials, ready);
        let takes = ["publickey", "password", "keyboard-interactive"];
        attempts.note(&refused(AuthMethod::None, &takes));
        assert!(matches!(attempts.next().await, Some(Credential::Key { .. })));
        attempts.note(&refused(AuthMethod::PublicKey(key.public_key().clone()), &takes));
        assert!(matches!(attempts.next().await, Some(Credential::Password(_))));
        attempts.note(&refused(AuthMethod::Password, &takes));
        assert!(matches!(attempts.next().await, Some(Credential::KeyboardInteractive)));
        attempts.note_unanswered();
        assert!(attempts.next().await.is_none());
        let told = attempts.refused("me").to_string();
        let expected =
            format!("key {}: refused, password: refused, keyboard-interactive: nobody", key.public_key().fingerprint());
        assert!(told.contains(&expected) && told.contains("“core”") && !told.contains("secret"), "{told}");
    }
}
