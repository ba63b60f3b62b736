//! Bytes as hexadecimal digits, as keys and ids stand in files.

/// Two digits for each byte.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Exactly as many bytes as are wanted.
pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    decode_any(text)?.try_into().ok()
}

/// As many bytes as there are.
pub(crate) fn decode_any(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
    let (pairs, rest) = digits.as_ref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
