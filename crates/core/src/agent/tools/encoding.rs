//! The encodings of files: UTF-16 is read, edited and written as itself; any other that is not UTF-8 is
//! kept byte for byte, or refused, and never mixed with UTF-8.

/// How the text of a file is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// UTF-8, with a byte order mark or without.
    Utf8 {
        /// It begins with the mark.
        mark: bool,
    },
    /// UTF-16 with its byte order mark.
    Utf16 {
        /// The low byte comes first.
        little: bool,
    },
    /// Eight bits a character, in an unknown table.
    EightBit,
    /// No text.
    Binary,
}

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

impl Encoding {
    /// How these bytes are encoded.
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

    /// UTF-16 as UTF-8; `None`: half a character in it would be lost.
    pub(super) fn decode_utf16(little: bool, bytes: &[u8]) -> Option<String> {
        let (units, rest) = bytes.get(2..)?.as_chunks::<2>();
        let unit = |pair: &[u8; 2]| match little {
            true => u16::from_le_bytes(*pair),
            false => u16::from_be_bytes(*pair),
        };
        let units: Vec<u16> = units.iter().map(unit).collect();
        String::from_utf16(&units).ok().filter(|_| rest.is_empty())
    }

    /// A text in UTF-16 with its mark.
    pub(super) fn encode_utf16(little: bool, text: &str) -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        let bytes = |unit: u16| match little {
            true => unit.to_le_bytes(),
            false => unit.to_be_bytes(),
        };
        units.flat_map(bytes).collect()
    }

    /// A whole new text for a file of this encoding.
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

/// Why a text is not put into a file of another encoding.
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
