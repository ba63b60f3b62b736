//! Reads the public key a person pastes: one line `type base64 comment`, as in a `.pub` file.
//!
//! Most of this file is about what people paste instead. Each mistake has its own sentence, which says what to do next; none
//! repeats the text, because the text may be a private key.

use base64ct::{Base64, Encoding};
use thiserror::Error;

use super::public_key::{KeyError, PublicKey, is_key_type};

/// An RSA key of 16,384 bits is a line of 2.8 kB; a comment may be long, a book may not.
const LONGEST_TEXT: usize = 16 * 1024;
/// Base64 of `openssh-key-v1`: the body of a private key whose header was not copied.
const OPENSSH_PRIVATE_BODY: &str = "b3BlbnNzaC1rZXktdjE";

/// Why a pasted text is not a public key we accept. Prints as a sentence for the person who pasted it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyTextError {
    /// Nothing but white space.
    #[error("no key was given; paste the one line of your .pub file")]
    Empty,
    /// A private key in any form of OpenSSH, OpenSSL or PuTTY.
    #[error(
        "this is a private key, and it was not kept. Never give it to anyone: if it left your machine, make a new one. \
         Paste the public key, the one line of the file that ends in .pub"
    )]
    PrivateKey,
    /// The public format of RFC 4716, which PuTTYgen saves.
    #[error(
        "this public key is in the RFC 4716 format (\"SSH2 PUBLIC KEY\"); convert it with `ssh-keygen -i -f FILE`, or copy \
         the line that PuTTYgen shows in its window"
    )]
    Rfc4716,
    /// A public key as OpenSSL writes it.
    #[error(
        "this public key is in a PEM format; convert it with `ssh-keygen -i -m PKCS8 -f FILE` (or `-m PEM` if it says RSA \
         PUBLIC KEY)"
    )]
    Pem,
    /// Something stands in front of the key type, as in `authorized_keys` and `known_hosts`.
    #[error(
        "something stands in front of the key; options such as from=\"…\" are not supported: begin with the key type"
    )]
    Options,
    /// More than one line.
    #[error("these are several lines; paste one key, on one line, and add others one by one")]
    SeveralLines,
    /// Longer than any key.
    #[error("this text is longer than any public key")]
    TooLong,
    /// Base64 that does not decode, as when the end of the line was not copied.
    #[error("the key is damaged or not complete; copy the whole line again")]
    Damaged,
    /// The type in front is not the type inside.
    #[error("the type in front of the key is not the type inside it; copy the whole line again")]
    TypeDiffers,
    /// Nothing of the above.
    #[error("this is not an SSH public key; it should be one line like `ssh-ed25519 AAAAC3Nz… name@machine`")]
    NotAKey,
    /// A whole key, but not one we accept.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl PublicKey {
    /// Reads a key as a person pastes it, and the comment behind it if there is one.
    pub fn from_text(text: &str) -> Result<(Self, Option<String>), KeyTextError> {
        let text = text.trim_start_matches('\u{feff}').trim();
        refuse_private(text)?;
        refuse_other_formats(text)?;
        if text.is_empty() {
            return Err(KeyTextError::Empty);
        }
        if text.len() > LONGEST_TEXT {
            return Err(KeyTextError::TooLong);
        }
        if text.contains(['\n', '\r']) {
            return Err(KeyTextError::SeveralLines);
        }
        let (stated_type, rest) = next_word(text);
        let (base64, comment) = next_word(rest);
        if !is_key_type(stated_type) {
            return Err(what_stands_in_front(stated_type, rest, base64));
        }
        if base64.is_empty() {
            return Err(KeyTextError::Damaged);
        }
        let blob = decode(base64).ok_or(KeyTextError::Damaged)?;
        let key = Self::from_blob(&blob).map_err(|error| match error {
            // Inside a line of text this is what a lost or doubled piece looks like.
            KeyError::Malformed(_) | KeyError::TrailingBytes => KeyTextError::Damaged,
            error => KeyTextError::Key(error),
        })?;
        if key.key_type() != stated_type {
            return Err(KeyTextError::TypeDiffers);
        }
        Ok((key, (!comment.is_empty()).then(|| comment.to_owned())))
    }
}

fn refuse_private(text: &str) -> Result<(), KeyTextError> {
    let header = text.lines().any(|line| line.trim_start().starts_with("--") && line.contains("PRIVATE KEY"));
    let putty = text.contains("PuTTY-User-Key-File-") || text.contains("Private-Lines:");
    if header || putty || text.contains(OPENSSH_PRIVATE_BODY) { Err(KeyTextError::PrivateKey) } else { Ok(()) }
}

fn refuse_other_formats(text: &str) -> Result<(), KeyTextError> {
    if text.contains("BEGIN SSH2 PUBLIC KEY") {
        return Err(KeyTextError::Rfc4716);
    }
    if text.starts_with("-----BEGIN ") && text.contains("PUBLIC KEY-----") {
        return Err(KeyTextError::Pem);
    }
    Ok(())
}

/// The first word and what follows the white space behind it.
fn next_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// The text begins with a word that is no key type: is it a key of an unknown type, a key behind something, or no key?
fn what_stands_in_front(first: &str, rest: &str, second: &str) -> KeyTextError {
    // The options of an authorized_keys line may hold spaces between quotes, so any later word may be the type.
    if rest.split([' ', '\t']).any(is_key_type) {
        return KeyTextError::Options;
    }
    match decode(second) {
        // A blob repeats its type, so this really is a key, of a type we do not know.
        Some(blob) => match PublicKey::from_blob(&blob) {
            Err(KeyError::Unsupported { key_type }) if key_type == first => KeyError::Unsupported { key_type }.into(),
            _ => KeyTextError::NotAKey,
        },
        None => KeyTextError::NotAKey,
    }
}

/// Base64 as people copy it: the padding may be lost.
fn decode(base64: &str) -> Option<Vec<u8>> {
    let digits = base64.trim_end_matches('=');
    let missing = (4 - digits.len() % 4) % 4;
    Base64::decode_vec(&format!("{digits}{}", &"==="[..missing])).ok()
}

#[cfg(test)]
mod tests;
