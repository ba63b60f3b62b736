//! Passwords: which are good enough, and how they are hashed and compared.
//!
//! Hashing is slow and takes memory on purpose, so it runs on threads of its own, a few at a time; when too many wait, the next is
//! turned away. A flood of sign-ins costs the machine neither its memory nor the threads that relay bytes. The memory is ours and used
//! again: given back to the allocator after each hash, it stayed there by the hundred megabytes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use adit_core::AccountName;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
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
    /// As much as was ever in use at a time. What the last hash has left there tells no more than the hash itself.
    memory: Arc<Mutex<Vec<Memory>>>,
}

/// Where a hash is computed.
type Memory = Vec<Block>;

impl Hasher {
    pub(crate) fn new() -> Self {
        Self {
            running: Arc::new(Semaphore::new(AT_A_TIME)),
            places: Semaphore::new(AT_A_TIME + WAITING),
            memory: Arc::default(),
        }
    }

    /// The hash of a new password, in PHC format.
    pub(crate) async fn hash(&self, password: &Password) -> Result<String, HashError> {
        let password = password.clone();
        self.run(move |memory| hash(&password, memory)).await?
    }

    /// Compares a password with the hash of an account; with `None` it takes as long, and is wrong.
    pub(crate) async fn verify(&self, password: &Password, phc: Option<&str>) -> Result<Verdict, HashError> {
        let (password, phc) = (password.clone(), phc.map(str::to_owned));
        self.run(move |memory| verify(&password, phc.as_deref(), memory)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let _place = self.places.try_acquire().map_err(|_| HashError::Busy)?;
        let turn = Arc::clone(&self.running).acquire_owned().await.map_err(|_| HashError::Failed)?;
        // The turn goes along: a caller that gives up does not make room while its hash is still being computed.
        let shelf = Arc::clone(&self.memory);
        let done = tokio::task::spawn_blocking(move || {
            let mut memory = shelf.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            let result = work(&mut memory);
            shelf.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
            drop(turn);
            result
        });
        done.await.map_err(|_| HashError::Failed)
    }
}

fn hash(password: &Password, memory: &mut Memory) -> Result<String, HashError> {
    let mut salt = [0; SALT_BYTES];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| HashError::Failed)?;
    let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    compute(password, &salt, &Argon2::new(algorithm, version, PARAMS), &mut output, memory).ok_or(HashError::Failed)?;
    let hash = PasswordHash {
        algorithm: algorithm.ident(),
        version: Some(version.into()),
        params: ParamsString::try_from(&PARAMS).map_err(|_| HashError::Failed)?,
        salt: Some(Salt::new(&salt).map_err(|_| HashError::Failed)?),
        hash: Some(Output::new(&output).map_err(|_| HashError::Failed)?),
    };
    Ok(hash.to_string())
}

fn verify(password: &Password, phc: Option<&str>, memory: &mut Memory) -> Verdict {
    let Ok(hash) = PasswordHash::new(phc.unwrap_or(NOBODY)) else { return Verdict::Wrong };
    if !matches(password, &hash, memory).unwrap_or(false) || phc.is_none() {
        return Verdict::Wrong;
    }
    Verdict::Right { needs_rehash: !is_current(&hash) }
}

/// Whether this is the password of a hash, compared with the parameters it was made with; `None` where they are none of ours.
fn matches(password: &Password, hash: &PasswordHash, memory: &mut Memory) -> Option<bool> {
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
    let argon2 = Argon2::new(algorithm, version, Params::try_from(hash).ok()?);
    let (salt, expected) = (hash.salt.as_ref()?, hash.hash.as_ref()?);
    let mut output = vec![0; expected.len()];
    compute(password, salt, &argon2, &mut output, memory)?;
    Some(verify_slices_are_equal(&output, expected.as_bytes()).is_ok())
}

fn compute(
    password: &Password,
    salt: &[u8],
    argon2: &Argon2<'_>,
    output: &mut [u8],
    memory: &mut Memory,
) -> Option<()> {
    // A block is 1 KiB, which is the unit of the parameter.
    let blocks = usize::try_from(argon2.params().m_cost()).ok()?;
    if memory.len() < blocks {
        memory.resize(blocks, Block::new());
    }
    let memory = memory.get_mut(..blocks)?;
    argon2.hash_password_into_with_memory(password.0.as_bytes(), salt, output, memory).ok()
}

fn is_current(hash: &PasswordHash) -> bool {
    let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
    hash.algorithm == Algorithm::Argon2id.ident()
        && Params::try_from(hash).is_ok_and(|params| cost(&params) == cost(&PARAMS))
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::{PasswordHasher, PasswordVerifier};

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
        let mut memory = Memory::new();
        let mut verdict = |phc: &str| verify(&password("correct horse"), Some(phc), &mut memory);
        assert_eq!(verdict(&old.to_string()), Verdict::Right { needs_rehash: true });
        assert_eq!(verdict("no hash"), Verdict::Wrong);
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
    fn what_others_have_hashed_is_compared_and_theirs_is_what_we_make() {
        let theirs = Argon2::new(Algorithm::Argon2id, Version::V0x13, PARAMS);
        let made = theirs.hash_password_with_salt(b"correct horse", &[7; 16]).unwrap().to_string();
        let mut memory = Memory::new();
        let right = Verdict::Right { needs_rehash: false };
        assert_eq!(verify(&password("correct horse"), Some(&made), &mut memory), right);
        assert_eq!(verify(&password("correct house"), Some(&made), &mut memory), Verdict::Wrong);
        let ours = hash(&password("correct horse"), &mut memory).unwrap();
        assert_eq!(theirs.verify_password(b"correct horse", &PasswordHash::new(&ours).unwrap()), Ok(()));
    }

    #[tokio::test]
    async fn memory_is_used_again() {
        let hasher = Hasher::new();
        for _ in 0..8 {
            assert_eq!(hasher.verify(&password("correct horse"), None).await, Ok(Verdict::Wrong));
        }
        let sizes: Vec<_> = hasher.memory.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(sizes, [19_456], "one after the other they take what one takes");
    }

    #[test]
    fn it_is_printed_nowhere() {
        assert_eq!(format!("{:?}", password("correct horse")), "Password(…)");
    }
}
