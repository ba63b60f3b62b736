use super::*;
use crate::crypto::testing::section;

const VECTOR: &str = include_str!("../testdata/group14.txt");

fn key(first: u8) -> Group14Key {
    Group14Key::from_bytes(&std::array::from_fn(|index| first + index as u8))
}

/// A number of the group's width as it stands in an `mpint`.
fn mpint(number: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    wire::put_mpint(&mut field, number);
    field.split_off(4)
}

#[test]
fn both_agree_as_another_implementation_does() {
    let vector = section(VECTOR, "group14");
    let (client, server) = (key(0), key(64));
    assert_eq!(client.public(), mpint(vector.field("client_public")));
    assert_eq!(server.public(), mpint(vector.field("server_public")));
    assert_eq!(*client.agree(&server.public()).unwrap(), vector.field("secret"));
    assert_eq!(*server.agree(&client.public()).unwrap(), vector.field("secret"));
}

/// RFC 4253 §8, and the two values inside its bounds that make the secret known to all.
#[test]
fn a_value_out_of_range_is_refused() {
    let modulus = Group14::PARAMS.modulus().as_ref().to_be_bytes().as_ref().to_vec();
    let changed_by = |by: i8| {
        let mut number = modulus.clone();
        let last = number.last_mut().unwrap();
        *last = last.wrapping_add_signed(by);
        mpint(&number)
    };
    let too_long = mpint(&[1; 257]);
    for value in [&[][..], &[0], &[1], &[0, 2], &[0x80], &[0xff; 256], &changed_by(0), &changed_by(-1), &too_long] {
        assert!(key(1).agree(value).is_none(), "{value:02x?}");
    }
    for value in [&[2][..], &changed_by(-2)] {
        assert!(key(1).agree(value).is_some(), "{value:02x?}");
    }
}

#[test]
fn two_keys_differ() {
    assert_ne!(Group14Key::generate().unwrap().public(), Group14Key::generate().unwrap().public());
}
