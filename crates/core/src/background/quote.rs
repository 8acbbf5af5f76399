//! Formats an argv as a line that a person can read and a shell would accept.

use shlex::Quoter;

/// Quotes an argv for display. A POSIX shell splits the line into the same words; a NUL, which no argv can
/// contain, is kept.
pub fn quote_argv(argv: &[String]) -> String {
    let quoter = Quoter::new().allow_nul(true);
    let mut line = String::new();
    for (i, word) in argv.iter().enumerate() {
        if i > 0 {
            line.push(' ');
        }
        if i > 0 && is_plain_argument(word) {
            line.push_str(word);
        } else {
            line.push_str(&quoter.quote(word).expect("a quoter that takes NUL refuses nothing"));
        }
    }
    line
}

/// Words that `shlex` quotes for the sake of rare shells, and that people do not quote: `--target=x`, `a,b`,
/// `50%`. Only for arguments: at the start of a line `a=b` is an assignment.
fn is_plain_argument(word: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-./:@_=,%".contains(&byte);
    !word.is_empty() && word.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(argv: &[&str], expected: &str) {
        let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
        assert_eq!(quote_argv(&argv), expected);
    }

    #[test]
    fn only_what_needs_it_is_quoted() {
        check(&["cargo", "test", "--target=x86_64", "-j2"], "cargo test --target=x86_64 -j2");
        check(&["echo", "two words", ""], "echo 'two words' ''");
        check(&["A=b", "A=b"], "'A=b' A=b");
        check(&["echo", "it's", "$HOME"], r#"echo "it's" '$HOME'"#);
        check(&["printf", "a\nb"], "printf 'a\nb'");
        check(&[], "");
    }

    proptest! {
        #[test]
        fn a_shell_reads_the_same_words(argv in prop::collection::vec("[^\0]{0,12}", 1..6)) {
            prop_assert_eq!(shlex::split(&quote_argv(&argv)), Some(argv));
        }
    }
}
