//! The client's side of authentication (RFC 4252, RFC 4256): whose turn it is, what may be said in it, and what a server may
//! answer. It decides nothing about which method to try; it sees to it that nothing is signed or told out of turn.
//!
//! A server is a stranger here until it has let us in: what it may say is bounded, and an answer to a question nobody asked
//! ends the connection.

use zeroize::Zeroizing;

use super::{publickey_request, request, signed_message};
use crate::client::{AuthFailure, AuthMethod, AuthRefusal, ClientEvent, Credential, Prompt, Prompts, SignatureRequest};
use crate::crypto::{HostKeyAlgorithm, PrivateKey, PublicKey};
use crate::disconnect::Disconnect;
use crate::messages;
use crate::wire::{NameList, Reader, put_bool, put_string, put_u32};

/// A person answers a handful; a server that asks on and on holds somebody up.
const MAX_ROUNDS: u32 = 32;
/// Questions in one round. OpenSSH asks no more than 100; nobody saw more than three.
const MAX_PROMPTS: usize = 32;
/// What a server may say in banners, in all: a long notice, not a book.
const MAX_BANNER_BYTES: usize = 16 * 1024;
/// The name, the instruction or one question of a round.
const MAX_PROMPT_BYTES: usize = 4 * 1024;
/// RFC 8308 §2.4: one behind the first keys and one before the success.
const MAX_EXT_INFOS: u32 = 2;
/// Methods of a refusal that are kept, and how long a name may be (RFC 4251 §6).
const MAX_METHODS: usize = 32;
const MAX_METHOD_NAME: usize = 64;

const RSA_SHA1: &str = HostKeyAlgorithm::RsaSha1.name();

/// The client's side of authentication.
pub(crate) struct ClientAuth {
    awaits: Awaited,
    /// What the server named last.
    methods_left: Vec<String>,
    /// The signature algorithms for RSA keys that the server verifies, if it said so.
    rsa_algorithms: Option<Vec<&'static str>>,
    /// Whether `ssh-rsa` may be among them.
    sha1_logins: bool,
    ext_infos: u32,
    banner_bytes: usize,
}

/// What comes next, and from whom.
enum Awaited {
    /// The caller's: is this the right host key?
    Verdict,
    /// The server's: it is to grant the service.
    Service,
    /// The caller's: any method.
    Method,
    /// The caller's: a signature.
    Signature { key: PublicKey, algorithm: &'static str },
    /// The caller's: answers to this many questions.
    Answers { count: usize, rounds: u32 },
    /// The server's: would this key do?
    KeyAnswer { key: SigningKey, algorithm: &'static str },
    /// The server's: questions, or the end of them.
    Prompts { rounds: u32 },
    /// The server's: are we in?
    Outcome(AuthMethod),
}

enum SigningKey {
    Held(PrivateKey),
    Outside(PublicKey),
}

impl SigningKey {
    fn public(&self) -> &PublicKey {
        match self {
            Self::Held(key) => key.public_key(),
            Self::Outside(key) => key,
        }
    }
}

/// What follows from a message or a call.
pub(crate) enum ClientStep {
    /// Nothing.
    Rest,
    /// Something is to be sent. It may hold a secret.
    Send(Zeroizing<Vec<u8>>),
    /// The caller is to know something.
    Tell(ClientEvent),
    /// We are in.
    LoggedIn,
}

impl ClientAuth {
    pub(crate) fn new(sha1_logins: bool) -> Self {
        Self {
            awaits: Awaited::Verdict,
            methods_left: Vec::new(),
            rsa_algorithms: None,
            sha1_logins,
            ext_infos: 0,
            banner_bytes: 0,
        }
    }

    /// Whether the host key is still to be judged, so that nothing more may be heard.
    pub(crate) fn awaits_verdict(&self) -> bool {
        matches!(self.awaits, Awaited::Verdict)
    }

    /// Whether the caller is to say something, so that the server keeps nobody waiting.
    pub(crate) fn awaits_caller(&self) -> bool {
        match self.awaits {
            Awaited::Verdict | Awaited::Method | Awaited::Signature { .. } | Awaited::Answers { .. } => true,
            Awaited::Service | Awaited::KeyAnswer { .. } | Awaited::Prompts { .. } | Awaited::Outcome(_) => false,
        }
    }

    // ── what the caller says ────────────────────────────────────────────────────────────────────────────────────

    /// The host key is the right one: asks for the service.
    pub(crate) fn accept_host_key(&mut self) -> ClientStep {
        if !self.awaits_verdict() {
            return ClientStep::Rest;
        }
        self.awaits = Awaited::Service;
        let mut message = vec![messages::SERVICE_REQUEST];
        put_string(&mut message, b"ssh-userauth");
        ClientStep::Send(message.into())
    }

    /// Tries a method, and gives up one in which it is the caller's turn.
    pub(crate) fn authenticate(&mut self, credential: Credential, user: &str, session_id: &[u8]) -> ClientStep {
        if !self.awaits_caller() || self.awaits_verdict() {
            return ClientStep::Rest;
        }
        let method = credential.method();
        let mut message = Zeroizing::new(request(user.as_bytes(), method.name()));
        match credential {
            Credential::Key { key, probe } => return self.offer(SigningKey::Held(key), probe, user, session_id),
            Credential::Signer { key, probe } => return self.offer(SigningKey::Outside(key), probe, user, session_id),
            Credential::None => {}
            Credential::Password(password) => {
                // So that no copy of it is left behind by a reallocation.
                let mut with_room = Zeroizing::new(Vec::with_capacity(message.len() + 1 + 4 + password.len()));
                with_room.extend_from_slice(&message);
                message = with_room;
                put_bool(&mut message, false);
                put_string(&mut message, password.as_bytes());
            }
            Credential::KeyboardInteractive => {
                // No language and no submethod is preferred (RFC 4256 §3.1).
                put_string(&mut message, b"");
                put_string(&mut message, b"");
                self.awaits = Awaited::Prompts { rounds: 0 };
                return ClientStep::Send(message);
            }
        }
        self.awaits = Awaited::Outcome(method);
        ClientStep::Send(message)
    }

    fn offer(&mut self, key: SigningKey, probe: bool, user: &str, session_id: &[u8]) -> ClientStep {
        let Some(algorithm) = self.signature_algorithm(&key) else {
            let tried = AuthMethod::PublicKey(key.public().clone());
            return self.fail(tried, AuthRefusal::NoSignatureAlgorithm);
        };
        if !probe {
            return self.sign(key, algorithm, user, session_id);
        }
        let question = publickey_request(user.as_bytes(), algorithm.as_bytes(), key.public().blob(), false);
        self.awaits = Awaited::KeyAnswer { key, algorithm };
        ClientStep::Send(question.into())
    }

    /// What the key may sign with: its own algorithm, and for RSA the best that the server verifies (RFC 8332 §3.3). From a
    /// server that says nothing, most know SHA-2; where `ssh-rsa` was switched on for it, it is one of the others.
    fn signature_algorithm(&self, key: &SigningKey) -> Option<&'static str> {
        let own = key.public().algorithms();
        if key.public().key_type() != RSA_SHA1 {
            return own.first().copied();
        }
        // The library signs nothing over SHA-1; an agent may.
        let may_be_sha1 = self.sha1_logins && matches!(key, SigningKey::Outside(_));
        match &self.rsa_algorithms {
            Some(verified) => {
                let sound = own.iter().find(|algorithm| verified.contains(algorithm)).copied();
                sound.or_else(|| (may_be_sha1 && verified.contains(&RSA_SHA1)).then_some(RSA_SHA1))
            }
            None if may_be_sha1 => Some(RSA_SHA1),
            None => own.first().copied(),
        }
    }

    fn sign(&mut self, key: SigningKey, algorithm: &'static str, user: &str, session_id: &[u8]) -> ClientStep {
        let blob = key.public().blob();
        let message = signed_message(session_id, user.as_bytes(), algorithm.as_bytes(), blob);
        match key {
            SigningKey::Held(key) => {
                let tried = AuthMethod::PublicKey(key.public_key().clone());
                match key.sign(algorithm, &message) {
                    Ok(signature) => self.send_signature(key.public_key(), algorithm, &signature, user),
                    Err(_) => self.fail(tried, AuthRefusal::NotSigned),
                }
            }
            SigningKey::Outside(key) => {
                self.awaits = Awaited::Signature { key: key.clone(), algorithm };
                ClientStep::Tell(ClientEvent::SignatureWanted(SignatureRequest { key, algorithm, message }))
            }
        }
    }

    fn send_signature(&mut self, key: &PublicKey, algorithm: &str, signature: &[u8], user: &str) -> ClientStep {
        let mut message = publickey_request(user.as_bytes(), algorithm.as_bytes(), key.blob(), true);
        put_string(&mut message, signature);
        self.awaits = Awaited::Outcome(AuthMethod::PublicKey(key.clone()));
        ClientStep::Send(message.into())
    }

    /// An outside signer's answer. An agent that knows nothing of SHA-2 signs with `ssh-rsa` whatever it was asked for.
    pub(crate) fn answer_signature(&mut self, signature: Option<&[u8]>, user: &str) -> ClientStep {
        let Awaited::Signature { key, algorithm } = &self.awaits else { return ClientStep::Rest };
        let (key, algorithm) = (key.clone(), *algorithm);
        let made_with = |signature: &&[u8]| Reader::new(signature).string() == Ok(algorithm.as_bytes());
        match signature.filter(made_with) {
            Some(signature) => self.send_signature(&key, algorithm, signature, user),
            None => self.fail(AuthMethod::PublicKey(key), AuthRefusal::NotSigned),
        }
    }

    /// The answers to a round of questions: as many as there were, whatever the caller gives.
    pub(crate) fn answer_prompts(&mut self, answers: &[Zeroizing<String>]) -> ClientStep {
        let Awaited::Answers { count, rounds } = self.awaits else { return ClientStep::Rest };
        let len = answers.iter().map(|answer| 4 + answer.len()).sum::<usize>();
        let mut message = Zeroizing::new(Vec::with_capacity(1 + 4 + 4 * count + len));
        message.push(messages::USERAUTH_INFO_RESPONSE);
        put_u32(&mut message, count as u32);
        for index in 0..count {
            put_string(&mut message, answers.get(index).map_or(b"", |answer| answer.as_bytes()));
        }
        self.awaits = Awaited::Prompts { rounds };
        ClientStep::Send(message)
    }

    fn fail(&mut self, tried: AuthMethod, why: AuthRefusal) -> ClientStep {
        self.awaits = Awaited::Method;
        let methods_left = self.methods_left.clone();
        ClientStep::Tell(ClientEvent::AuthFailed(AuthFailure { tried, why, methods_left }))
    }

    // ── what the server says ────────────────────────────────────────────────────────────────────────────────────

    /// Takes SERVICE_ACCEPT or a message of 50–79.
    pub(crate) fn handle(&mut self, payload: &[u8], user: &str, session_id: &[u8]) -> Result<ClientStep, Disconnect> {
        let mut fields = Reader::new(&payload[1..]);
        if payload[0] == messages::USERAUTH_BANNER && !matches!(self.awaits, Awaited::Service) {
            return self.handle_banner(fields);
        }
        if self.awaits_caller() {
            return Err(Disconnect::protocol("an answer of the server to a question that was not asked"));
        }
        match (payload[0], std::mem::replace(&mut self.awaits, Awaited::Method)) {
            (messages::SERVICE_ACCEPT, Awaited::Service) => {
                if fields.string()? != b"ssh-userauth" {
                    return Err(Disconnect::protocol("the server grants a service that was not asked for"));
                }
                Ok(ClientStep::Tell(ClientEvent::AuthReady))
            }
            (messages::USERAUTH_SUCCESS, Awaited::Outcome(_) | Awaited::Prompts { .. }) => Ok(ClientStep::LoggedIn),
            (messages::USERAUTH_FAILURE, was) => self.handle_failure(fields, was),
            (messages::USERAUTH_PK_OK, Awaited::KeyAnswer { key, algorithm }) => {
                if fields.string()? != algorithm.as_bytes() || fields.string()? != key.public().blob() {
                    return Err(Disconnect::protocol("the server accepts a key that was not offered"));
                }
                fields.end()?;
                Ok(self.sign(key, algorithm, user, session_id))
            }
            (messages::USERAUTH_PASSWD_CHANGEREQ, Awaited::Outcome(AuthMethod::Password)) => {
                let prompt = text(fields.string()?, MAX_PROMPT_BYTES);
                Ok(self.fail(AuthMethod::Password, AuthRefusal::PasswordExpired { prompt }))
            }
            (messages::USERAUTH_INFO_REQUEST, Awaited::Prompts { rounds }) => self.handle_prompts(fields, rounds),
            _ => Err(Disconnect::protocol("an authentication message out of turn")),
        }
    }

    fn handle_failure(&mut self, mut fields: Reader<'_>, was: Awaited) -> Result<ClientStep, Disconnect> {
        let methods: NameList<'_> = fields.name_list()?;
        let partial_success = fields.boolean()?;
        fields.end()?;
        let names = methods.iter().filter(|name| name.len() <= MAX_METHOD_NAME).take(MAX_METHODS);
        self.methods_left = names.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let why = if partial_success { AuthRefusal::PartialSuccess } else { AuthRefusal::Refused };
        Ok(match was {
            Awaited::Outcome(method) => self.fail(method, why),
            Awaited::Prompts { .. } => self.fail(AuthMethod::KeyboardInteractive, why),
            Awaited::KeyAnswer { key, .. } => {
                self.fail(AuthMethod::PublicKey(key.public().clone()), AuthRefusal::KeyRefused)
            }
            _ => return Err(Disconnect::protocol("a refusal of something that was not asked for")),
        })
    }

    /// RFC 4256 §3.2.
    fn handle_prompts(&mut self, mut fields: Reader<'_>, rounds: u32) -> Result<ClientStep, Disconnect> {
        if rounds >= MAX_ROUNDS {
            return Err(Disconnect::protocol("the server asks without end"));
        }
        let (name, instruction, _language) = (fields.string()?, fields.string()?, fields.string()?);
        let count = fields.u32()? as usize;
        if count > MAX_PROMPTS {
            return Err(Disconnect::protocol("the server asks too many questions at once"));
        }
        let mut prompts = Vec::with_capacity(count);
        for _ in 0..count {
            prompts.push(Prompt { text: text(fields.string()?, MAX_PROMPT_BYTES), echo: fields.boolean()? });
        }
        fields.end()?;
        self.awaits = Awaited::Answers { count, rounds: rounds + 1 };
        let (name, instruction) = (text(name, MAX_PROMPT_BYTES), text(instruction, MAX_PROMPT_BYTES));
        Ok(ClientStep::Tell(ClientEvent::Prompts(Prompts { name, instruction, prompts })))
    }

    fn handle_banner(&mut self, mut fields: Reader<'_>) -> Result<ClientStep, Disconnect> {
        let bytes = fields.string()?;
        let left = MAX_BANNER_BYTES - self.banner_bytes;
        self.banner_bytes += bytes.len().min(left);
        if left == 0 {
            return Ok(ClientStep::Rest);
        }
        Ok(ClientStep::Tell(ClientEvent::Banner(text(bytes, left))))
    }

    /// RFC 8308 §2.3; the last one counts.
    pub(crate) fn handle_ext_info(&mut self, payload: &[u8]) -> Result<(), Disconnect> {
        self.ext_infos += 1;
        if self.ext_infos > MAX_EXT_INFOS {
            return Err(Disconnect::protocol("the server tells its extensions again and again"));
        }
        let mut fields = Reader::new(&payload[1..]);
        for _ in 0..fields.u32()? {
            let (name, value) = (fields.string()?, fields.string()?);
            if name == b"server-sig-algs" {
                let names = NameList::new(value)?;
                let rsa = [HostKeyAlgorithm::RsaSha512, HostKeyAlgorithm::RsaSha256, HostKeyAlgorithm::RsaSha1];
                self.rsa_algorithms =
                    Some(rsa.map(HostKeyAlgorithm::name).into_iter().filter(|name| names.contains(name)).collect());
            }
        }
        Ok(fields.end()?)
    }
}

/// A server's words, as far as they are borne.
fn text(bytes: &[u8], most: usize) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned()
}
