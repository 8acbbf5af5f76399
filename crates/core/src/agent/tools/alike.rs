//! Finds text that only looks like the wanted text: other quotes, dashes, blanks, full-width letters, accents
//! written in two ways, and invisible characters. A model that copies a line writes the plain characters.

/// The characters of a text in the form that is compared, and their positions.
struct Folded {
    plain: Vec<char>,
    /// The byte offset of each character.
    at: Vec<usize>,
}

/// Longer texts are not compared.
const TEXT_BYTES: usize = 4 << 20;

/// Letters with accents and their base letters; Cyrillic and Greek letters and the Latin letters they look like.
const ACCENTS: [(&str, char); 36] = [
    ("àáâãäåāăąа", 'a'),
    ("ÀÁÂÃÄÅĀĂĄАΑ", 'A'),
    ("çćĉċčс", 'c'),
    ("ÇĆĈĊČС", 'C'),
    ("ď", 'd'),
    ("Ď", 'D'),
    ("èéêëēĕėęěе", 'e'),
    ("ÈÉÊËĒĔĖĘĚЕΕ", 'E'),
    ("ĝğġģ", 'g'),
    ("ĜĞĠĢ", 'G'),
    ("ìíîïĩīĭįі", 'i'),
    ("ÌÍÎÏĨĪĬĮİІΙ", 'I'),
    ("ñńņň", 'n'),
    ("ÑŃŅŇ", 'N'),
    ("òóôõöōŏőоο", 'o'),
    ("ÒÓÔÕÖŌŎŐОΟ", 'O'),
    ("ŕŗř", 'r'),
    ("ŔŖŘ", 'R'),
    ("śŝşšѕ", 's'),
    ("ŚŜŞŠ", 'S'),
    ("ùúûüũūŭůűų", 'u'),
    ("ÙÚÛÜŨŪŬŮŰŲ", 'U'),
    ("ýÿŷу", 'y'),
    ("ÝŶŸ", 'Y'),
    ("źżž", 'z'),
    ("ŹŻŽ", 'Z'),
    ("рρ", 'p'),
    ("х", 'x'),
    ("ј", 'j'),
    ("ВΒ", 'B'),
    ("КΚ", 'K'),
    ("МΜ", 'M'),
    ("НΗ", 'H'),
    ("РΡ", 'P'),
    ("ТΤ", 'T'),
    ("ХΧ", 'X'),
];

/// The form in which a character is compared; `None` if it is invisible by itself.
fn plain(c: char) -> Option<char> {
    Some(match c {
        '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}' | '\u{202a}'..='\u{202e}' => {
            return None;
        }
        // Combining accents: elsewhere, the letter before them may include the accent.
        '\u{300}'..='\u{36f}' => return None,
        '\u{2018}'..='\u{201b}' | '\u{2032}' | '\u{b4}' | '`' => '\'',
        '\u{201c}'..='\u{201f}' | '\u{2033}' | '«' | '»' => '"',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
        '\u{2026}' => '.',
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(c) - 0xff01 + u32::from('!')).unwrap_or(c)
        }
        c if c.is_ascii() => c,
        c => ACCENTS.iter().find(|(letters, _)| letters.contains(c)).map_or(c, |(_, it)| *it),
    })
}

fn fold(text: &str) -> Folded {
    let mut folded = Folded { plain: Vec::new(), at: Vec::new() };
    for (at, c) in text.char_indices() {
        let Some(plain) = plain(c) else { continue };
        // An ellipsis looks like three dots.
        for _ in 0..if c == '\u{2026}' { 3 } else { 1 } {
            folded.plain.push(plain);
            folded.at.push(at);
        }
    }
    folded
}

/// Describes a text that looks like the wanted one: its line, and the first character that differs.
pub(super) fn differs(text: &str, wanted: &str) -> Option<String> {
    if text.len() > TEXT_BYTES {
        return None;
    }
    let (there, meant) = (fold(text), fold(wanted));
    if meant.plain.is_empty() {
        return None;
    }
    let found = there.plain.windows(meant.plain.len()).position(|part| part == meant.plain)?;
    let from = there.at[found];
    let end = there.at.get(found + meant.plain.len()).copied().unwrap_or(text.len());
    let (mut has, mut wrote) = (text[from..end].chars(), wanted.chars());
    let mut line = 1 + text[..from].matches('\n').count();
    loop {
        let (has, wrote) = (has.next(), wrote.next());
        let what = match (has, wrote) {
            (Some(has), Some(wrote)) if has == wrote => {
                line += usize::from(has == '\n');
                continue;
            }
            (Some(has), Some(wrote)) => {
                format!("the file has {} where old_string has {}", name(has), name(wrote))
            }
            (Some(has), None) => format!("the file has {} where old_string ends", name(has)),
            (None, Some(wrote)) => format!("old_string has {}, which is not there", name(wrote)),
            (None, None) => return None,
        };
        return Some(format!(
            "old_string is not in it, but at line {line} is a text that looks the same: {what}. Copy that \
             character exactly"
        ));
    }
}

fn name(c: char) -> String {
    let code = u32::from(c);
    match plain(c) {
        Some(_) if !c.is_whitespace() && !c.is_control() => format!("`{c}` (U+{code:04X})"),
        Some(_) => format!("U+{code:04X}"),
        None => format!("U+{code:04X}, which cannot be seen by itself"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_the_same_is_told_apart() {
        let check = |text: &str, wanted: &str, says: &[&str]| {
            let told = differs(text, wanted).unwrap_or_else(|| panic!("{wanted}: nothing is told"));
            for word in says {
                assert!(told.contains(word), "{wanted}: {told}");
            }
        };
        check("a\nsay “hello” now\n", "say \"hello\" now", &["line 2", "“", "U+201C", "U+0022"]);
        check("x – y\n", "x - y", &["line 1", "U+2013"]);
        check("foo\u{200b}bar = 1\n", "foobar = 1", &["line 1", "U+200B", "cannot be seen"]);
        check("foobar\n", "foo\u{200b}bar", &["U+200B"]);
        check("cafe\u{301}\n", "café", &["U+0065", "U+00E9"]);
        check("café\n", "cafe\u{301}", &["U+00E9"]);
        check("\u{ff21}\u{ff11}\n", "A1", &["U+FF21"]);
        check("a\u{a0}b\n", "a b", &["U+00A0"]);
        check("x = \u{430}bc\n", "x = abc", &["line 1", "U+0430"]);
        check("wait\u{2026}\n", "wait...", &["U+2026"]);
        check("one\ntwo\n\u{201c}three\u{201d}\n", "two\n\"three\"", &["line 3"]);
        assert_eq!(differs("one\n", "two"), None);
        assert_eq!(differs("one\n", "\u{200b}"), None);
    }
}
