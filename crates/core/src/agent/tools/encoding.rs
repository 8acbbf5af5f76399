//! Encodings of files. UTF-16 is read, edited and written as UTF-16; any other encoding that is not UTF-8 is kept
//! byte for byte, or refused, and never mixed with UTF-8.

/// How the text of a file is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// UTF-8, with or without a byte order mark.
    Utf8 {
        /// Whether the file starts with a byte order mark.
        mark: bool,
    },
    /// UTF-16 with its byte order mark.
    Utf16 {
        /// Whether the low byte comes first.
        little: bool,
    },
    /// An 8-bit encoding with an unknown character table.
    EightBit,
    /// Not text: the file contains NUL bytes.
    Binary,
}

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

impl Encoding {
    /// Detects the encoding of these bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0xff, 0xfe, ..] => Self::Utf16 { little: true },
            [0xfe, 0xff, ..] => Self::Utf16 { little: false },
            _ if bytes.contains(&0) => Self::Binary,
            _ if std::str::from_utf8(bytes).is_ok() => {
                Self::Utf8 { mark: bytes.starts_with(UTF8_MARK) }
            }
            _ => Self::EightBit,
        }
    }

    /// Converts UTF-16 to UTF-8; `None` if it contains half a character, which would be lost.
    pub(super) fn decode_utf16(little: bool, bytes: &[u8]) -> Option<String> {
        let (units, rest) = bytes.get(2..)?.as_chunks::<2>();
        let unit = |pair: &[u8; 2]| match little {
            true => u16::from_le_bytes(*pair),
            false => u16::from_be_bytes(*pair),
        };
        let units: Vec<u16> = units.iter().map(unit).collect();
        String::from_utf16(&units).ok().filter(|_| rest.is_empty())
    }

    /// Converts a text to UTF-16 with a byte order mark.
    pub(super) fn encode_utf16(little: bool, text: &str) -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        let bytes = |unit: u16| match little {
            true => unit.to_le_bytes(),
            false => unit.to_be_bytes(),
        };
        units.flat_map(bytes).collect()
    }

    /// Encodes a complete new text for a file with this encoding.
    pub(super) fn encode(self, text: &str) -> Result<Vec<u8>, String> {
        match self {
            Self::Utf8 { mark: true } if !text.starts_with('\u{feff}') => {
                Ok([UTF8_MARK, text.as_bytes()].concat())
            }
            Self::Utf8 { .. } | Self::Binary => Ok(text.as_bytes().to_vec()),
            Self::Utf16 { little } => Ok(Self::encode_utf16(little, text)),
            Self::EightBit if text.is_ascii() => Ok(text.as_bytes().to_vec()),
            Self::EightBit => Err(MIXED.to_owned()),
        }
    }
}

/// Why a text cannot be written to a file with another encoding.
pub(super) const MIXED: &str = "it is not UTF-8 (perhaps Latin-1 or another 8-bit encoding), and the new \
     text has characters beyond ASCII, which would be mixed with it: convert the file first, as with \
     `iconv -f LATIN1 -t UTF-8`, or write ASCII";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_kept_or_refused() {
        let check = |bytes: &[u8], want: Encoding| assert_eq!(Encoding::of(bytes), want);
        check(b"", Encoding::Utf8 { mark: false });
        check("é".as_bytes(), Encoding::Utf8 { mark: false });
        check(b"\xef\xbb\xbfa", Encoding::Utf8 { mark: true });
        check(b"\xff\xfea\0", Encoding::Utf16 { little: true });
        check(b"\xfe\xff\0a", Encoding::Utf16 { little: false });
        check(b"\xe9t\xe9", Encoding::EightBit);
        check(b"a\0b", Encoding::Binary);
        for little in [true, false] {
            let bytes = Encoding::encode_utf16(little, "a😀é\n");
            assert_eq!(Encoding::of(&bytes), Encoding::Utf16 { little });
            assert_eq!(Encoding::decode_utf16(little, &bytes).as_deref(), Some("a😀é\n"));
            assert_eq!(Encoding::decode_utf16(little, &bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(Encoding::EightBit.encode("plain"), Ok(b"plain".to_vec()));
        assert!(Encoding::EightBit.encode("é").is_err());
        assert_eq!(Encoding::Utf8 { mark: true }.encode("a"), Ok(b"\xef\xbb\xbfa".to_vec()));
    }
}
