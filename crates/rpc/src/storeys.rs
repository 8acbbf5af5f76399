//! The storeys of this crate, and tests that imports only go downwards.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The top-level modules, the lowest first, and what each may import. Other modules are an error.
const STOREYS: [(&str, &[&str]); 13] = [
    ("wire", &[]),
    ("log", &[]),
    ("state_dir", &[]),
    ("config", &[]),
    ("setup", &["config"]),
    ("convert", &["wire"]),
    ("peer", &["wire", "convert"]),
    ("courier", &["convert", "peer"]),
    ("desk", &["wire", "setup", "convert", "peer"]),
    ("handlers", &["wire", "convert", "peer", "desk"]),
    ("methods", &["wire", "convert", "peer", "desk", "handlers"]),
    ("fronts", &["wire", "convert", "peer", "desk", "handlers", "methods"]),
    (
        "cli",
        &["wire", "state_dir", "config", "setup", "convert", "peer", "courier", "desk", "fronts"],
    ),
];

/// Modules above all storeys: the entry points, and this test.
const ABOVE: [&str; 3] = ["main", "lib", "storeys"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All files of this crate: the module path from `src`, and the text.
fn files() -> Vec<(Vec<String>, String)> {
    let (mut files, mut folders) = (Vec::new(), vec![source()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let from = path.strip_prefix(source()).unwrap().with_extension("");
                let modules = from.iter().map(|part| part.to_str().unwrap().to_owned());
                files.push((modules.collect(), std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    files
}

/// The code of a file without comments.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The names that follow `prefix`: a single name, or each name of a list in braces.
fn after(code: &str, prefix: &str) -> BTreeSet<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        // `prefix` is the end of another name, or of a longer path upwards.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | ':')) {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        let Some(list) = rest.trim_start().strip_prefix('{') else {
            found.insert(name(rest));
            continue;
        };
        let mut depth = 0;
        let mut item = String::new();
        for c in list.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    found.insert(name(&item));
                    item.clear();
                    continue;
                }
                _ => {}
            }
            item.push(c);
        }
        found.insert(name(&item));
    }
    found.remove("");
    found
}

/// The top-level modules that a file names, also through `super`.
fn imports(modules: &[String], text: &str) -> BTreeSet<String> {
    let code = code(text);
    let mut found = after(&code, "crate::");
    // From the file's module; a module inside the file needs one more `super`.
    for depth in [modules.len(), modules.len() + 1] {
        let up = "super::".repeat(depth);
        found.extend(after(&code, &up).into_iter().filter(|name| name != "super"));
    }
    found.retain(|name| STOREYS.iter().any(|(storey, _)| storey == name));
    found
}

#[test]
fn imports_go_only_downwards() {
    let mut wrong = Vec::new();
    for (modules, text) in files() {
        let own = modules[0].as_str();
        if ABOVE.contains(&own) {
            continue;
        }
        let Some((_, may)) = STOREYS.iter().find(|(storey, _)| *storey == own) else {
            wrong.push(format!("`{own}` has no storey"));
            continue;
        };
        for name in imports(&modules, &text) {
            if name != own && !may.contains(&name.as_str()) {
                wrong.push(format!("{} imports `{name}`", modules.join("/")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_itself_goes_only_downwards() {
    for (place, (storey, may)) in STOREYS.iter().enumerate() {
        for name in *may {
            let below = STOREYS[..place].iter().any(|(lower, _)| lower == name);
            assert!(below, "`{storey}` may import `{name}`, which is not below it");
        }
        let path = source().join(storey).with_extension("rs");
        assert!(path.exists(), "`{storey}` is not a module any more");
    }
}

#[test]
fn only_its_own_front_knows_a_library() {
    for (modules, text) in files() {
        let code = code(&text);
        for (owner, libraries) in
            [("lsp", &["tower_lsp::", "tower_service::"][..]), ("mcp", &["rmcp::"][..])]
        {
            let is_owner = modules.starts_with(&["fronts".to_owned(), owner.to_owned()]);
            let known = libraries.iter().find(|name| code.contains(**name));
            let path = modules.join("/");
            assert!(is_owner || modules[0] == "storeys" || known.is_none(), "{path}: {known:?}");
        }
        if let [top, front, ..] = &modules[..]
            && top == "fronts"
        {
            let others = after(&code, "fronts::").into_iter().chain(after(&code, "super::super::"));
            let others: Vec<_> = others
                .filter(|name| name != front && source().join("fronts").join(name).exists())
                .collect();
            assert!(others.is_empty(), "{} imports {others:?}", modules.join("/"));
        }
    }
}

#[test]
fn imports_are_found_however_they_are_written() {
    let check = |modules: &[&str], text: &str, expect: &[&str]| {
        let modules: Vec<String> = modules.iter().map(|it| (*it).to_owned()).collect();
        let found: Vec<String> = imports(&modules, text).into_iter().collect();
        assert_eq!(found, expect, "{text}");
    };
    check(&["desk"], "use crate::wire;", &["wire"]);
    check(
        &["desk"],
        "pub(crate) use crate::{wire::{self, Error}, peer, log};",
        &["log", "peer", "wire"],
    );
    check(&["desk"], "use super::cli;", &["cli"]);
    check(&["desk", "asks"], "use super::convert;", &[]);
    check(&["desk", "asks"], "use super::super::methods;", &["methods"]);
    check(&["desk", "asks"], "mod tests {\n    use super::super::super::cli::out;\n}", &["cli"]);
    check(&["desk"], "fn f() { crate::cli::main() }", &["cli"]);
    check(&["desk"], "// use crate::cli;\n/// See [`x`](crate::cli).", &[]);
}
