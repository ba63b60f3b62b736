//! TLS 1.3 between two agents, each known by its Ed25519 key alone (raw public keys, RFC 7250). TLS proves that the other side has
//! its key; whether it is a member is judged by what it shows next ([`crate::handshake`]).

use std::sync::Arc;

use adit_core::mesh::{PROTOCOL, PublicKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureScheme,
};

use crate::keys::SigningKey;

/// SubjectPublicKeyInfo of an Ed25519 key (RFC 8410 §4), before the key.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// OneAsymmetricKey of an Ed25519 key (RFC 8410 §7), before the seed.
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// What a client calls the server: names mean nothing here, and none is sent.
pub(crate) const NAME: &str = "agent.invalid";

/// Both sides of TLS for an agent.
///
/// # Errors
/// The key does not fit the library.
pub(crate) fn configs(identity: &SigningKey) -> Result<(ClientConfig, ServerConfig), Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = Arc::new(certified(identity, &provider)?);
    let anybody = Arc::new(AnyEd25519Key(provider.signature_verification_algorithms));
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[&TLS13])?;
    let mut client = client
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&anybody) as Arc<dyn ServerCertVerifier>)
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&key))));
    client.alpn_protocols = vec![PROTOCOL.to_vec()];
    client.enable_sni = false;
    // A link lives for days: nothing is won by resuming one, and a ticket is one thing more that could be stolen.
    client.resumption = Resumption::disabled();
    let server = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13])?;
    let mut server = server
        .with_client_cert_verifier(anybody)
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
    server.alpn_protocols = vec![PROTOCOL.to_vec()];
    server.send_tls13_tickets = 0;
    Ok((client, server))
}

fn certified(identity: &SigningKey, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
    let pkcs8 = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from([&PKCS8[..], identity.seed()].concat()));
    let key = provider.key_provider.load_private_key(pkcs8)?;
    Ok(CertifiedKey::new(vec![CertificateDer::from([&SPKI[..], identity.public()].concat())], key))
}

/// The key that the other side has proved to have.
pub(crate) fn peer_key(certificates: Option<&[CertificateDer<'_>]>) -> Option<PublicKey> {
    certificates?.first()?.strip_prefix(&SPKI)?.try_into().ok()
}

/// Takes any Ed25519 key whose holder signs the handshake.
#[derive(Debug)]
struct AnyEd25519Key(WebPkiSupportedAlgorithms);

impl AnyEd25519Key {
    fn look_at(&self, key: &CertificateDer<'_>) -> Result<(), Error> {
        match peer_key(Some(std::slice::from_ref(key))) {
            Some(_) => Ok(()),
            None => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
        }
    }

    fn verify(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(message, &SubjectPublicKeyInfoDer::from(&**key), signature, &self.0)
    }
}

/// TLS 1.2 is not offered, so there is nothing of it to verify.
const NO_TLS12: Error = Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic);

impl ServerCertVerifier for AnyEd25519Key {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.look_at(key).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(NO_TLS12)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for AnyEd25519Key {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.look_at(key).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(NO_TLS12)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
