//! Bytes of a frame, in JSON as hexadecimal digits.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Bytes that are written as hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HexBytes(pub Vec<u8>);

impl fmt::Display for HexBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| {
            f.write_char(digit(byte >> 4))?;
            f.write_char(digit(byte & 0x0f))
        })
    }
}

fn digit(nibble: u8) -> char {
    char::from(DIGITS[usize::from(nibble)])
}

impl Serialize for HexBytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        bytes(&text).map(Self).ok_or_else(|| {
            D::Error::custom("bytes are an even number of hexadecimal digits, such as \"0a1b\"")
        })
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let whole = pairs.iter().map(|[high, low]| {
        let (high, low) = (value(*high)?, value(*low)?);
        Some(high << 4 | low)
    });
    rest.is_empty().then(|| whole.collect()).flatten()
}

fn value(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_str, to_string};

    #[test]
    fn bytes_are_digits_and_back() {
        let all = HexBytes((0..=255).collect());
        let text = to_string(&all).unwrap();
        assert!(text.starts_with("\"000102") && text.ends_with("feff\""));
        assert_eq!(from_str::<HexBytes>(&text).unwrap(), all);
        assert_eq!(from_str::<HexBytes>("\"0A\"").unwrap().0, [10]);
        assert!(from_str::<HexBytes>("\"\"").unwrap().0.is_empty());
        for wrong in ["\"0\"", "\"0g\"", "\"é\"", "7"] {
            assert!(from_str::<HexBytes>(wrong).is_err(), "{wrong}");
        }
    }
}
