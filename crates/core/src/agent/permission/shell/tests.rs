mod bash;

use super::*;

/// The commands of a line, each in brackets, with `?` for words that only the shell can compute, and `!` if there
/// may be more.
fn commands(line: &str) -> String {
    let script = parse(line);
    let mut shown: Vec<String> = Vec::new();
    for simple in &script.commands {
        let assignments =
            simple.assignments.iter().map(|(name, value)| format!("{name}={}", show(value)));
        let redirects = simple.redirects.iter().map(|(files, word)| match files {
            Files::Read => format!("<{}", show(word)),
            Files::Write => format!(">{}", show(word)),
        });
        let words = simple.words.iter().map(show);
        let all: Vec<_> = assignments.chain(words).chain(redirects).collect();
        shown.push(format!("[{}]", all.join(",")));
    }
    if script.hidden.is_some() {
        shown.push("!".to_owned());
    }
    shown.join("")
}

fn show(word: &Word) -> String {
    word.literal().map_or_else(|| format!("{}?", word.text()), str::to_owned)
}

#[track_caller]
fn check(line: &str, expected: &str) {
    assert_eq!(commands(line), expected, "{line:?}");
}

#[test]
fn words_are_what_a_shell_takes_for_words() {
    check("", "");
    check("ls", "[ls]");
    check("  ls\t-l  ", "[ls,-l]");
    check("a 'b c' \"d e\" f\\ g", "[a,b c,d e,f g]");
    check("a'b'\"c\"\\d", "[abcd]");
    check("a '' \"\"", "[a,,]");
    check("a \"\\$x \\\" \\a\"", "[a,$x \" \\a]");
    check("a '\\'", "[a,\\]");
    check("a\\\nb c\\\n d \\\n", "[ab,c,d]");
    check("a && \\\nb |\\\n c", "[a][b][c]");
    check("a#b #c", "[a#b]");
    check("a $x \"$x\" ${x} $1 $@", "[a,?,?,?,?,?]");
    check("a $ \"$\" a$ %$%", "[a,$,$,a$,%$%]");
    check("a *.c '*.c' [x] [x", "[a,*.c?,*.c,[x]?,[x]");
    check("a ~ '~' ~/x x~ HEAD~1", "[a,~?,~,~/x?,x~,HEAD~1]");
    check("a {b,c} {} '{b}'", "[a,{b,c}?,{},{b}]");
    check("a=1 b", "[a=1,b]");
    check("a=1 b+=2 c d=3", "[a=1,b=2,c,d=3]");
    check("'a'=1 1a=2", "['a'=1,1a=2]".replace('\'', "").as_str());
    check("ä 'ö'", "[ä,ö]");
}

#[test]
fn every_command_is_found() {
    check("a; b && c || d | e & f\ng", "[a][b][c][d][e][f][g]");
    check("a |& b", "[a][b]");
    check("(a; b) && { c; }", "[a][b][c]");
    check("( (a) )", "[a]");
    check("! a", "[a]");
    check("a $(b `c`) `d` \"$(e \"$(f)\")\"", "[c][b,?][d][f][e,?][a,?,?,?]");
    check("a <(b) >(c)", "[b][c][a,?,?]");
    check("x=$(a) y=`b`", "[a][b][x=?,y=?]");
    check("$(a)", "[a][?]");
    check("if a; then b; elif c; then d; else e; fi", "[a][b][c][d][e]");
    check("while a; do b; done; until c; do d; done", "[a][b][c][d]");
    check("for x in a $(b); do c; done", "[b][for,x,in,a,?][c]");
    check("for x in a; do b; done > c", "[for,x,in,a][b][>c]");
    check("for x; do b; done", "[for,x][b]");
    check("f() { a; }; f", "[a][f]");
    check("f()\n{\na\n}", "[a]");
    check("f() (a)", "[a]");
    check("time -p a | b", "[time,-p,a][b]");
    check("a # b; c\nd", "[a][d]");
    check("a $(b # )\n)", "[b][a,?]");
    check("2>&1 if a", "[if,a]");
    check("\"if\" a", "[if,a]");
    check("i\\f a", "[if,a]");
    check("echo if then { }", "[echo,if,then,{,}]");
}

#[test]
fn redirections_are_told_from_words() {
    check("a > b", "[a,>b]");
    check("a >b c", "[a,c,>b]");
    check("a 2>b 3<c", "[a,>b,<c]");
    check("a2>b", "[a2,>b]");
    check("a >>b >|c <>d", "[a,>b,>c,>d]");
    check("a 2>&1 >&2 <&0 >&-", "[a]");
    check("a >&b", "[a,>b]");
    check("a &>b; c &>>d", "[a,>b][c,>d]");
    check("a &> b c", "!");
    check("> a", "[>a]");
    check("a > $x", "[a,>?]");
    check("a > $(b)", "[b][a,>?]");
    check("a >", "!");
    check("a > ; b", "!");
    check("a <<< $(b)", "[b][a]");
    check("a < <(b)", "[b][a,<?]");
    check("{ a; } > b", "[a][>b]");
}

#[test]
fn here_documents_are_text_but_for_what_they_run() {
    check("a <<E\nb; c\nE\nd", "[a][d]");
    check("a <<E\n$(b) `c`\nE", "[a][b][c]");
    check("a <<'E'\n$(b) `c` \\\nE\nd", "[a][d]");
    check("a <<\"E\"; b\n$(c)\nE\nd", "[a][b][d]");
    check("a <<\\E\n$(b)\nE\nd", "[a][d]");
    check("a <<-E\n\tb\n\tE\nc", "[a][c]");
    check("a <<E\n\tE\nE", "[a]");
    check("a <<E <<F\nE\n$(b)\nF", "[a][b]");
    check("a <<E | b\nE\nc", "[a][b][c]");
    check("a <<E\n\\$(b) \\`c\\` \\\\$(d)\nE", "[a][d]");
    check("$(a <<E\nE\n)", "[a][?]");
    for line in [
        "a <<E",
        "a <<E\nb",
        "a <<E\nb\n E",
        "a <<$x\n$x",
        "a <<E'F'\nEF",
        "a <<E\nb\\\nE\nE",
        "a <<E $(\nb)\nE",
        "a <<E 'x\ny'\nE",
        "a <<E \\\nb\nE",
        "$(a <<E)\nE",
        "a <<E\n${x:=y}\nE",
    ] {
        assert!(parse(line).hidden.is_some(), "{line:?}");
    }
}

#[test]
fn what_is_not_understood_is_said_to_be_so() {
    for line in [
        "a 'b",
        "a \"b",
        "a `b",
        "a $(b",
        "a ${b",
        "(a",
        "a)",
        "a \\",
        "a (b)",
        "a=(b)",
        "a[1]=b",
        "((a))",
        "$((a))",
        "$((1))x))",
        "$((a[$(b)]))",
        "$[1]",
        "[[ a ]]",
        "a $'b'",
        "a $\"b\"",
        "function f { a; }",
        "coproc a",
        "for ((;;)); do a; done",
        "for $x in a; do b; done",
        "case a in b) c ;; esac",
        "a1\\\nb",
        "a \"b\\\nc\"",
        "for x do a; done",
        "a $\\\nb",
        "a \"$\\\n(b)\"",
        "a $b\\\nc",
        "(\\\n(a))",
        "a $(\\\n(b))",
        "a <\\\n(b)",
        "a 2\\\n>b",
        "a |\\\n| b",
        "f() { f | f & }; f",
        "case a in b) c",
        "case a b",
        "a;;",
        "esac",
        "a 2>(b)",
        "a <&b",
        "a `b \\` c`",
        "a \"`b \"c\"`\"",
        "${x:=y}",
        "${x=y}",
        "${!x}",
        "${x@P}",
        "${x[1]}",
        "${x:1:2}",
        "${x^}",
        "${x:-$(a)}",
        "${x:-'}'}",
        "a\rb",
        "a\u{a0}b",
        "a\0b",
        "'a\0b'",
        "a \u{1b}[x",
    ] {
        assert!(parse(line).hidden.is_some(), "{line:?}");
    }
    let deep = format!("{}a{}", "$(".repeat(5_000), ")".repeat(5_000));
    assert!(parse(&deep).hidden.is_some());
    let deep = format!("{}a{}", "for x\n i$(".repeat(30), ")".repeat(30));
    assert_eq!(parse(&deep).commands.len(), 61, "read once, not a billion times");
    let deep = format!("{}a{}", "( ".repeat(5_000), ")".repeat(5_000));
    assert!(parse(&deep).hidden.is_some());
}
