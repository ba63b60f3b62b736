//! Passwords: which are good enough, and how they are hashed and compared.
//!
//! Hashing is slow and takes memory on purpose, so it runs on threads of its own, a few at a time; when too many wait, the next is
//! turned away. A flood of sign-ins costs the machine neither its memory nor the threads that relay bytes.

use std::fmt;
use std::sync::Arc;

use adit_core::AccountName;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Deserializer};
use thiserror::Error;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// Argon2id (RFC 9106) with 19 MiB, 2 passes and 1 lane: what OWASP's Password Storage Cheat Sheet recommends at the least
/// (<https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>).
const PARAMS: Params = Params::DEFAULT;

/// RFC 9106 §4 recommends 128 bits.
const SALT_BYTES: usize = 16;

/// Hashes computed at a time: with 19 MiB each, 76 MiB at most.
const AT_A_TIME: usize = 4;

/// Those that may wait behind them. At some 20 ms each the last one waits for a fraction of a second.
const WAITING: usize = 64;

/// The hash of a password that nobody has, for accounts that are not there or have none: a wrong name must take as long as a wrong
/// password.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5LWhhcy10aGlz$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Lengths that a password may have, in characters. With 12 and no rules of composition it resists guessing through a limiter; the
/// upper bound keeps hashing short (NIST SP 800-63B §3.1.1.2 asks for at least 64).
const LENGTHS: std::ops::RangeInclusive<usize> = 12..=1_024;

/// A shorter name would be in too many passwords by chance.
const NAME_THAT_COUNTS: usize = 4;

/// Long enough, and among the first that are tried.
const COMMON: [&str; 26] = [
    "password1234",
    "password12345",
    "passwordpassword",
    "password123456",
    "mypassword123",
    "iloveyou1234",
    "letmeinletmein",
    "administrator",
    "administrator1",
    "changemechangeme",
    "changeme1234",
    "welcome12345",
    "welcomewelcome",
    "qwertyuiop12",
    "qwertyuiop123",
    "qwertyuiopasdf",
    "qwertyqwerty",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "zxcvbnm12345",
    "asdfghjkl123",
    "abcdefghijkl",
    "trustno1trustno1",
    "correcthorsebatterystaple",
    "footballfootball",
    "basketball123",
];

/// A password as somebody typed it. Wiped when dropped, and never printed.
#[derive(Clone, ToSchema)]
#[schema(value_type = String, format = Password)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes a text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Whether it may become the password of an account.
    pub(crate) fn check(&self, account: &AccountName) -> Result<(), WeakPassword> {
        let length = self.0.chars().count();
        if !LENGTHS.contains(&length) {
            return Err(WeakPassword::Length { length });
        }
        let plain = Zeroizing::new(self.0.to_lowercase());
        if COMMON.contains(&plain.as_str()) || is_pattern(plain.as_bytes()) {
            return Err(WeakPassword::Common);
        }
        if account.as_str().len() >= NAME_THAT_COUNTS && plain.contains(account.as_str()) {
            return Err(WeakPassword::HoldsName);
        }
        Ok(())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Password(…)")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// A few characters again and again (`abcabcabcabc`), or a run (`123456789012`, `abcdefghijkl`).
fn is_pattern(text: &[u8]) -> bool {
    let repeats = |period: usize| text.iter().skip(period).zip(text).all(|(later, earlier)| later == earlier);
    let step = |pair: &[u8]| i16::from(pair[1]) - i16::from(pair[0]);
    let is_run = |by: i16| text.windows(2).all(|pair| step(pair) == by || pair == b"90" || pair == b"09");
    (1..=4).any(repeats) || is_run(1) || is_run(-1)
}

/// Why a password cannot be used. Its `Display` says what to do; the password is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WeakPassword {
    /// Too short or too long.
    #[error("a password has {} to {} characters, this one has {length}; a few words in a row are a good one", LENGTHS.start(), LENGTHS.end())]
    Length {
        /// How many characters it has.
        length: usize,
    },
    /// Among the first that anybody would try.
    #[error("this password is among the first that anybody would try; choose a few words that do not belong together")]
    Common,
    /// The account's name is in it.
    #[error("the account's name is in this password; leave it out")]
    HoldsName,
}

/// A hash could not be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum HashError {
    /// Too many wait already.
    #[error("too many sign-ins at once")]
    Busy,
    /// No memory, no random numbers, or a bug: all of them ours.
    #[error("the password could not be hashed")]
    Failed,
}

/// What comparing a password with a hash says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Wrong,
    Right {
        /// The hash was made with other parameters than today's.
        needs_rehash: bool,
    },
}

/// Hashes passwords, a few at a time.
#[derive(Debug)]
pub(crate) struct Hasher {
    running: Arc<Semaphore>,
    places: Semaphore,
}

impl Hasher {
    pub(crate) fn new() -> Self {
        Self { running: Arc::new(Semaphore::new(AT_A_TIME)), places: Semaphore::new(AT_A_TIME + WAITING) }
    }

    /// The hash of a new password, in PHC format.
    pub(crate) async fn hash(&self, password: &Password) -> Result<String, HashError> {
        let password = password.clone();
        self.run(move || hash(&password)).await?
    }

    /// Compares a password with the hash of an account; with `None` it takes as long, and is wrong.
    pub(crate) async fn verify(&self, password: &Password, phc: Option<&str>) -> Result<Verdict, HashError> {
        let (password, phc) = (password.clone(), phc.map(str::to_owned));
        self.run(move || verify(&password, phc.as_deref())).await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, HashError> {
        let _place = self.places.try_acquire().map_err(|_| HashError::Busy)?;
        let turn = Arc::clone(&self.running).acquire_owned().await.map_err(|_| HashError::Failed)?;
        // The turn goes along: a caller that gives up does not make room while its hash is still being computed.
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        done.await.map_err(|_| HashError::Failed)
    }
}

fn argon2id() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, PARAMS)
}

fn hash(password: &Password) -> Result<String, HashError> {
    let mut salt = [0; SALT_BYTES];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| HashError::Failed)?;
    let hash: PasswordHash =
        argon2id().hash_password_with_salt(password.0.as_bytes(), &salt).map_err(|_| HashError::Failed)?;
    Ok(hash.to_string())
}

fn verify(password: &Password, phc: Option<&str>) -> Verdict {
    let Ok(hash) = PasswordHash::new(phc.unwrap_or(NOBODY)) else { return Verdict::Wrong };
    // The parameters are those of the hash, so an old one is compared as it was made.
    let matches = argon2id().verify_password(password.0.as_bytes(), &hash).is_ok();
    if !matches || phc.is_none() {
        return Verdict::Wrong;
    }
    Verdict::Right { needs_rehash: !is_current(&hash) }
}

fn is_current(hash: &PasswordHash) -> bool {
    let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
    hash.algorithm == Algorithm::Argon2id.ident()
        && Params::try_from(hash).is_ok_and(|params| cost(&params) == cost(&PARAMS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    fn check(text: &str) -> Result<(), WeakPassword> {
        password(text).check(&"alice".parse().unwrap())
    }

    #[test]
    fn length_counts_and_composition_does_not() {
        assert_eq!(check("only letters"), Ok(()));
        assert_eq!(check("zwölf Zeichen"), Ok(()));
        assert_eq!(check("elevenchars"), Err(WeakPassword::Length { length: 11 }));
        assert_eq!(check(&"xy z".repeat(300)), Err(WeakPassword::Length { length: 1_200 }));
    }

    #[test]
    fn what_everybody_tries_is_refused() {
        for bad in ["PassWord1234", "aaaaaaaaaaaaa", "abcabcabcabc", "123456789012", "210987654321", "abcdefghijklm"] {
            assert_eq!(check(bad), Err(WeakPassword::Common), "{bad}");
        }
        assert_eq!(check("i am Alice here"), Err(WeakPassword::HoldsName));
        assert_eq!(password("an apple a day").check(&"a".parse().unwrap()), Ok(()), "by chance");
    }

    #[tokio::test]
    async fn a_password_is_known_again_and_another_is_not() {
        let hasher = Hasher::new();
        let phc = hasher.hash(&password("correct horse")).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        let right = hasher.verify(&password("correct horse"), Some(&phc)).await;
        assert_eq!(right, Ok(Verdict::Right { needs_rehash: false }));
        assert_eq!(hasher.verify(&password("correct house"), Some(&phc)).await, Ok(Verdict::Wrong));
        assert_eq!(hasher.verify(&password("correct horse"), None).await, Ok(Verdict::Wrong));
        assert_ne!(hasher.hash(&password("correct horse")).await.unwrap(), phc, "each has its own salt");
    }

    #[test]
    fn a_hash_of_other_costs_is_right_and_old() {
        let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8_192, 1, 1, None).unwrap());
        let old: PasswordHash = weak.hash_password_with_salt(b"correct horse", &[7; 16]).unwrap();
        let verdict = verify(&password("correct horse"), Some(&old.to_string()));
        assert_eq!(verdict, Verdict::Right { needs_rehash: true });
        assert_eq!(verify(&password("correct horse"), Some("no hash")), Verdict::Wrong);
    }

    #[test]
    fn nobody_costs_what_everybody_costs() {
        assert!(is_current(&PasswordHash::new(NOBODY).unwrap()));
    }

    #[tokio::test]
    async fn a_flood_is_turned_away_and_leaves_no_trace() {
        let hasher = Hasher::new();
        let everything = hasher.places.try_acquire_many((AT_A_TIME + WAITING) as u32).unwrap();
        assert_eq!(hasher.verify(&password("correct horse"), None).await, Err(HashError::Busy));
        drop(everything);
        assert_eq!(hasher.verify(&password("correct horse"), None).await, Ok(Verdict::Wrong));
    }

    #[test]
    fn it_is_printed_nowhere() {
        assert_eq!(format!("{:?}", password("correct horse")), "Password(…)");
    }
}
