use super::*;
use crate::crypto::testing::{hex, section, sections};

const EXCHANGE: &str = include_str!("../testdata/exchange.txt");
const MLKEM: &str = include_str!("../testdata/mlkem768x25519.txt");

/// A published Diffie-Hellman exchange. The initiator is our client.
struct Vector {
    algorithm: KexAlgorithm,
    client_private: &'static str,
    server_private: &'static str,
    secret: &'static str,
}

/// RFC 5903 §8.1 to §8.3.
const NIST_VECTORS: [Vector; 3] = [
    Vector {
        algorithm: KexAlgorithm::EcdhNistp256,
        client_private: "c88f01f5 10d9ac3f 70a292da a2316de5 44e9aab8 afe84049 c62a9c57 862d1433",
        server_private: "c6ef9c5d 78ae012a 011164ac b397ce20 88685d8f 06bf9be0 b283ab46 476bee53",
        secret: "d6840f6b 42f6edaf d13116e0 e1256520 2fef8e9e ce7dce03 812464d0 4b9442de",
    },
    Vector {
        algorithm: KexAlgorithm::EcdhNistp384,
        client_private: "099f3c70 34d4a2c6 99884d73 a375a67f 7624ef7c 6b3c0f16 0647b674 14dce655 e35b5380 41e649ee
                         3faef896 783ab194",
        server_private: "41cb0779 b4bdb85d 47846725 fbec3c94 30fab46c c8dc5060 855cc9bd a0aa2942 e0308312 916b8ed2
                         960e4bd5 5a7448fc",
        secret: "11187331 c279962d 93d60424 3fd592cb 9d0a926f 422e4718 7521287e 7156c5c4 d6031355 69b9e9d0
                 9cf5d4a2 70f59746",
    },
    Vector {
        algorithm: KexAlgorithm::EcdhNistp521,
        client_private: "0037ade9 319a89f4 dabdb3ef 411aaccc a5123c61 acab57b5 393dce47 608172a0 95aa85a3 0fe1c295
                         2c6771d9 37ba9777 f5957b26 39bab072 462f68c2 7a57382d 4a52",
        server_private: "0145ba99 a847af43 793fdd0e 872e7cdf a16be30f dc780f97 bccc3f07 8380201e 9c677d60 0b343757
                         a3bdbf2a 3163e4c2 f869cca7 458aa4a4 effc311f 5cb15168 5eb9",
        secret: "01144c7d 79ae6956 bc8edb8e 7c787c45 21cb086f a64407f9 7894e5e6 b2d79b04 d1427e73 ca4baa24
                 0a347868 59810c06 b3c715a3 a8cc3151 f2bee417 996d19f3 ddea",
    },
];

fn private_key(algorithm: KexAlgorithm, bytes: &[u8]) -> PrivateKey {
    PrivateKey::from_private_key(algorithm.curve().unwrap().algorithm, bytes).unwrap()
}

fn client(algorithm: KexAlgorithm, key: PrivateKey) -> ClientKex {
    ClientKex { algorithm, key: ClientKey::Curve(key) }
}

/// The secret without the length before it. The vectors have no leading zeros, so a sign byte is all that is added.
fn number(secret: &SharedSecret) -> &[u8] {
    let number = &secret.encoded()[4..];
    assert_eq!(secret.encoded()[..4], (number.len() as u32).to_be_bytes());
    number.strip_prefix(&[0]).unwrap_or(number)
}

#[test]
fn nist_curves_agree_as_published() {
    for vector in NIST_VECTORS {
        let client_key = private_key(vector.algorithm, &hex(vector.client_private));
        let server_key = private_key(vector.algorithm, &hex(vector.server_private));
        let client_public = client_key.compute_public_key().unwrap();
        let exchange = respond_with(vector.algorithm, client_public.as_ref(), &server_key).unwrap();
        let expected = hex(vector.secret);
        let expected = expected.strip_prefix(&[0]).unwrap_or(&expected);
        assert_eq!(number(&exchange.secret), expected);
        assert_eq!(number(&client(vector.algorithm, client_key).finish(&exchange.public).unwrap()), expected);
    }
}

/// RFC 7748 §6.1; Alice is the client.
#[test]
fn curve25519_agrees_as_published() {
    let alice_public = hex("8520f009 8930a754 748b7ddc b43ef75a 0dbf3a0d 26381af4 eba4a98e aa9b4e6a");
    let bob = hex("5dab087e 624a8a4b 79e17f8b 83800ee6 6f3bb129 2618b6fd 1c2f8b27 ff88e0eb");
    let bob_public = hex("de9edb7d 7b7dc1b4 d35b61c2 ece43537 3f8343c8 5b78674d adfc7e14 6f882b4f");
    let shared = hex("4a5d9d5b a4ce2de1 728e3bf4 80350f25 e07e21c9 47d19e33 76f09b3c 1e161742");
    for algorithm in [KexAlgorithm::Curve25519Sha256, KexAlgorithm::Curve25519Sha256LibSsh] {
        let exchange = respond_with(algorithm, &alice_public, &private_key(algorithm, &bob)).unwrap();
        assert_eq!(exchange.public, bob_public);
        assert_eq!(number(&exchange.secret), shared);
        let as_client = client(algorithm, private_key(algorithm, &bob)).finish(&alice_public).unwrap();
        assert_eq!(number(&as_client), shared);
    }
}

/// The vector's secret is a `string`: a leading zero stays and no sign byte comes.
#[test]
fn the_hybrid_agrees_as_another_implementation_does() {
    let algorithm = KexAlgorithm::Mlkem768X25519Sha256;
    let vector = section(MLKEM, "mlkem768x25519");
    let client_key = private_key(algorithm, &(0x60..0x80).collect::<Vec<u8>>());
    let client_public = vector.field("client_public");
    assert_eq!(client_public[MLKEM_PUBLIC_LEN..], *client_key.compute_public_key().unwrap().as_ref());
    let mlkem = DecapsulationKey::new(&ML_KEM_768, vector.field("decapsulation_key")).unwrap();
    let secret = ClientKex { algorithm, key: ClientKey::Hybrid(client_key, mlkem) }
        .finish(vector.field("server_public"))
        .unwrap();
    assert_eq!(secret.encoded()[..4], [0, 0, 0, 32]);
    assert_eq!(secret.encoded()[4..], *vector.field("secret"));

    // Our answer is random, so what can be pinned is that the client of the vector understands it.
    let exchange = respond(algorithm, client_public).unwrap();
    let client_key = private_key(algorithm, &(0x60..0x80).collect::<Vec<u8>>());
    let mlkem = DecapsulationKey::new(&ML_KEM_768, vector.field("decapsulation_key")).unwrap();
    let secret = ClientKex { algorithm, key: ClientKey::Hybrid(client_key, mlkem) }.finish(&exchange.public).unwrap();
    assert_eq!(secret.encoded(), exchange.secret.encoded());
}

#[test]
fn both_sides_agree_on_a_new_secret_every_time() {
    for algorithm in KexAlgorithm::ALL.into_iter().chain(KexAlgorithm::OLD) {
        let secrets = [(); 2].map(|()| {
            let (client, client_public) = ClientKex::start(algorithm).unwrap();
            let exchange = respond(algorithm, &client_public).unwrap();
            let secret = client.finish(&exchange.public).unwrap();
            assert_eq!(secret.encoded(), exchange.secret.encoded(), "{algorithm:?}");
            secret.encoded().to_vec()
        });
        assert_ne!(secrets[0], secrets[1], "{algorithm:?}");
    }
}

#[test]
fn a_public_value_of_another_length_is_refused() {
    for algorithm in KexAlgorithm::ALL {
        let (_, client_public) = ClientKex::start(algorithm).unwrap();
        let server_public = respond(algorithm, &client_public).unwrap().public;
        for wrong in [0, 1, client_public.len() - 1, client_public.len() + 1, 4 * client_public.len()] {
            let mut value = client_public.clone();
            value.resize(wrong, 0);
            let expected = KexError::WrongLength { algorithm, got: wrong, wanted: client_public.len() };
            assert_eq!(respond(algorithm, &value).err(), Some(expected));
        }
        for wrong in [0, 1, server_public.len() - 1, server_public.len() + 1] {
            let (client, _) = ClientKex::start(algorithm).unwrap();
            let mut value = server_public.clone();
            value.resize(wrong, 0);
            let expected = KexError::WrongLength { algorithm, got: wrong, wanted: server_public.len() };
            assert_eq!(client.finish(&value).err(), Some(expected));
        }
    }
}

#[test]
fn a_point_beside_its_curve_is_refused() {
    for algorithm in [KexAlgorithm::EcdhNistp256, KexAlgorithm::EcdhNistp384, KexAlgorithm::EcdhNistp521] {
        let (_, public) = ClientKex::start(algorithm).unwrap();
        let mut beside = public.clone();
        beside[public.len() - 1] ^= 1;
        let mut too_large = public.clone();
        too_large[1..].fill(0xff);
        let mut zero = public.clone();
        zero[1..].fill(0);
        // Compressed and hybrid tags, the point at infinity, and a tag that does not exist.
        let other_tags = [2, 3, 6, 7, 0, 5].map(|tag| [&[tag], &public[1..]].concat());
        for value in other_tags.iter().chain([&beside, &too_large, &zero]) {
            assert_eq!(respond(algorithm, value).err(), Some(KexError::InvalidPublicValue(algorithm)), "{value:02x?}");
            let (client, _) = ClientKex::start(algorithm).unwrap();
            assert_eq!(client.finish(value).err(), Some(KexError::InvalidPublicValue(algorithm)), "{value:02x?}");
        }
    }
}

/// Points of small order, which make the secret zero whatever our key is (RFC 7748 §6.1 asks for the check).
#[test]
fn a_public_value_that_forces_a_zero_secret_is_refused() {
    let small_order = [
        "00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000",
        "01000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000",
        "e0eb7a7c 3b41b8ae 1656e3fa f19fc46a da098deb 9c32b1fd 866205 16 5f49b800",
        "5f9c95bc a3508c24 b1d0b155 9c83ef5b 04445cc4 581c8e86 d8224edd d09f1157",
        "ecffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffff7f",
        "edffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffff7f",
        "eeffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffff7f",
    ];
    for point in small_order.map(hex) {
        for algorithm in [KexAlgorithm::Curve25519Sha256, KexAlgorithm::Curve25519Sha256LibSsh] {
            let refused = Some(KexError::InvalidPublicValue(algorithm));
            assert_eq!(respond(algorithm, &point).err(), refused, "{point:02x?}");
            assert_eq!(ClientKex::start(algorithm).unwrap().0.finish(&point).err(), refused, "{point:02x?}");
        }
        let algorithm = KexAlgorithm::Mlkem768X25519Sha256;
        let refused = Some(KexError::InvalidPublicValue(algorithm));
        let (client, mut client_public) = ClientKex::start(algorithm).unwrap();
        let mut server_public = respond(algorithm, &client_public).unwrap().public;
        server_public[MLKEM_CIPHERTEXT_LEN..].copy_from_slice(&point);
        assert_eq!(client.finish(&server_public).err(), refused);
        client_public[MLKEM_PUBLIC_LEN..].copy_from_slice(&point);
        assert_eq!(respond(algorithm, &client_public).err(), refused);
    }
}

/// FIPS 203 §7.2: every coefficient of an encapsulation key must be below 3329.
#[test]
fn an_mlkem_key_with_a_number_out_of_range_is_refused() {
    let algorithm = KexAlgorithm::Mlkem768X25519Sha256;
    let (_, mut public) = ClientKex::start(algorithm).unwrap();
    public[..3].fill(0xff);
    assert_eq!(respond(algorithm, &public).err(), Some(KexError::InvalidPublicValue(algorithm)));
}

/// FIPS 203 §6.3 answers a tampered ciphertext with another secret, not with an error; the exchange hash then differs.
#[test]
fn a_tampered_mlkem_ciphertext_gives_another_secret() {
    let algorithm = KexAlgorithm::Mlkem768X25519Sha256;
    let (client, public) = ClientKex::start(algorithm).unwrap();
    let mut exchange = respond(algorithm, &public).unwrap();
    exchange.public[7] ^= 1;
    assert_ne!(client.finish(&exchange.public).unwrap().encoded(), exchange.secret.encoded());
}

#[test]
fn the_exchange_hash_and_the_keys_are_those_of_another_implementation() {
    let kinds = [("sha256", HashKind::Sha256), ("sha384", HashKind::Sha384), ("sha512", HashKind::Sha512)];
    let secret = SharedSecret::from_number(&(0x80..0xa0).collect::<Vec<u8>>());
    let input = ExchangeHashInput {
        client_version: b"SSH-2.0-client",
        server_version: b"SSH-2.0-server",
        client_kexinit: b"\x14client",
        server_kexinit: b"\x14server",
        host_key: b"host key",
        client_public: b"client public",
        server_public: b"server public",
        secret: &secret,
    };
    assert_eq!(sections(EXCHANGE).len(), kinds.len());
    for (name, kind) in kinds {
        let vector = section(EXCHANGE, name);
        let hash = exchange_hash(kind, &input);
        assert_eq!(hash.as_ref(), vector.field("hash"), "{name}");
        for (letter, len, field) in [(b'A', 12, "A12"), (b'C', 64, "C64"), (b'F', 150, "F150")] {
            let key = derive_key(kind, &secret, hash.as_ref(), letter, &[0x55; 20], len);
            assert_eq!(*key, vector.field(field), "{name} {field}");
        }
        assert!(derive_key(kind, &secret, hash.as_ref(), b'A', &[0x55; 20], 0).is_empty());
    }
}

#[test]
fn each_method_brings_its_hash() {
    let kinds = KexAlgorithm::ALL.map(KexAlgorithm::hash_kind);
    use HashKind::{Sha256, Sha384, Sha512};
    assert_eq!(kinds, [Sha256, Sha256, Sha256, Sha256, Sha384, Sha512]);
    assert_eq!(KexAlgorithm::OLD.map(KexAlgorithm::hash_kind), [Sha256, HashKind::Sha1]);
}

#[test]
fn names_are_read_as_they_are_written() {
    for algorithm in KexAlgorithm::ALL.into_iter().chain(KexAlgorithm::OLD) {
        assert_eq!(KexAlgorithm::from_name(algorithm.name().as_bytes()), Some(algorithm));
    }
    for unknown in ["diffie-hellman-group1-sha1", "curve25519-sha25", "", "kex-strict-c-v00@openssh.com"] {
        assert_eq!(KexAlgorithm::from_name(unknown.as_bytes()), None);
    }
}

#[test]
fn what_is_printed_holds_no_secret() {
    let secret = SharedSecret::from_number(&[0xab; 32]);
    assert_eq!(format!("{secret:?}"), "SharedSecret { .. }");
    let (client, _) = ClientKex::start(KexAlgorithm::Curve25519Sha256).unwrap();
    assert_eq!(format!("{client:?}"), "ClientKex { algorithm: Curve25519Sha256, .. }");
}
