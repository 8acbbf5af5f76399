//! `read_file`, `write_file`, `edit_file`.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use meanwhile_core::agent::tools::Diff;
use serde_json::json;

use crate::lab::lab;

#[test]
fn a_file_is_shown_with_its_line_numbers() {
    lab(async |lab| {
        lab.write("plain", "one\n\ttwo\n\nfour");
        lab.write("windows", "\u{feff}one\r\ntwo\r\n");
        lab.write("latin", b"caf\xe9\n");
        lab.write("empty", "");
        lab.write("binary", b"\x7fELF\0\0");
        lab.write("utf16", b"\xff\xfea\0");
        lab.write("dir/b", "");
        lab.write("dir/a/c", "");
        for (input, expected) in [
            (json!({"path": "plain"}), "     1\tone\n     2\t\ttwo\n     3\t\n     4\tfour\n"),
            (json!({"path": "plain", "offset": 4}), "     4\tfour\n"),
            (
                json!({"path": "plain", "offset": 2, "limit": 1}),
                "     2\t\ttwo\n... the file has 4 lines; read on with offset=3 ...",
            ),
            (json!({"path": "windows"}), "     1\tone\n     2\ttwo\n"),
            (json!({"path": "latin"}), "     1\tcaf\u{fffd}\n"),
            (json!({"path": "empty"}), "`empty` is empty"),
            (
                json!({"path": "binary"}),
                "`binary` is a binary file of 6 bytes, which cannot be shown as text",
            ),
            (
                json!({"path": "utf16"}),
                "`utf16` is UTF-16 text of 4 bytes, which cannot be shown as text",
            ),
            (json!({"path": "dir"}), "`dir` is a directory:\na/\nb"),
        ] {
            assert_eq!(lab.ok("read_file", input.clone()).await, expected, "{input}");
        }
    });
}

#[test]
fn a_large_file_comes_in_parts() {
    lab(async |lab| {
        let text: String = (1..=10_000).map(|n| format!("this is line {n}\n")).collect();
        lab.write("long", &text);
        let (mut all, mut offset, mut parts) = (String::new(), 1, 0);
        loop {
            let part = lab.ok("read_file", json!({ "path": "long", "offset": offset })).await;
            assert!(part.len() <= 16 << 10, "{}", part.len());
            parts += 1;
            for line in part.lines().filter_map(|line| line.split_once('\t')) {
                all.push_str(line.1);
                all.push('\n');
            }
            let Some((_, next)) =
                part.rsplit_once("the file has 10000 lines; read on with offset=")
            else {
                break;
            };
            offset = next.trim_end_matches(" ...").parse().unwrap();
        }
        assert!(all == text && parts > 10, "{parts}");
        let error = lab.fails("read_file", json!({ "path": "long", "offset": 10_001 })).await;
        assert_eq!(error, "`offset`: `long` has 10000 lines, not 10001");
        // Neither an endless line nor an endless file is held in memory.
        lab.write("wide", "é".repeat(5_000_000));
        let wide = lab.ok("read_file", json!({ "path": "wide" })).await;
        assert!(wide.ends_with("é ... 9 998 000 more bytes in this line ...\n"), "{}", wide.len());
        std::fs::File::create(lab.workspace.join("sparse")).unwrap().set_len(100 << 30).unwrap();
        let sparse = lab.ok("read_file", json!({ "path": "sparse" })).await;
        assert!(sparse.contains("a binary file of 107 374 182 400 bytes"), "{sparse}");
    });
}

#[test]
fn what_cannot_be_read_is_explained() {
    lab(async |lab| {
        lab.write("src/Main.rs", "");
        lab.ok("bash", json!({ "command": "mkfifo pipe" })).await;
        for (path, says) in [
            ("src/main.rs", "there is no such file; did you mean `"),
            ("src/main.py", "src/Main.rs`?"),
            ("nowhere/at/all", "is there, but not what follows it"),
            ("pipe", "is not a file but a pipe"),
            ("/dev/zero", "is not a file but a device"),
        ] {
            let error = lab.fails("read_file", json!({ "path": path })).await;
            assert!(error.contains(says), "{path}: {error}");
        }
    });
}

#[test]
fn a_file_is_written_whole() {
    lab(async |lab| {
        let outcome =
            lab.run("write_file", json!({ "path": "a/b/c.txt", "content": "é\nx" })).await;
        let path = lab.workspace.join("a/b/c.txt");
        assert_eq!(outcome.content, format!("created `{}`: 4 bytes, 2 lines", path.display()));
        let new = Diff { path: path.clone(), old: None, new: "é\nx".into() };
        assert_eq!(outcome.diff, Some(new));
        assert_eq!(lab.text("a/b/c.txt"), "é\nx");
        let usual = lab.write("usual", "").metadata().unwrap().mode();
        assert_eq!(path.metadata().unwrap().mode(), usual, "as any new file");
        // Its mode is kept, and a link to it remains.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o4751)).unwrap();
        symlink("a/b/c.txt", lab.workspace.join("link")).unwrap();
        let outcome = lab.run("write_file", json!({ "path": "link", "content": "new\n" })).await;
        assert_eq!(outcome.content, format!("replaced `{}`: 4 bytes, 1 line", path.display()));
        assert_eq!(outcome.diff.unwrap().old.as_deref(), Some("é\nx"));
        assert_eq!((lab.text("link").as_str(), lab.text("a/b/c.txt").as_str()), ("new\n", "new\n"));
        assert!(lab.workspace.join("link").is_symlink());
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o4751);
        // A file that is not text has no diff, but is still written.
        lab.write("binary", b"\xff\0");
        let outcome = lab.run("write_file", json!({ "path": "binary", "content": "text" })).await;
        assert_eq!((outcome.diff, lab.text("binary").as_str()), (None, "text"));
        for (path, says) in [("a", "is a directory"), ("usual/x", "cannot")] {
            let error = lab.fails("write_file", json!({ "path": path, "content": "" })).await;
            assert!(error.contains(says), "{error}");
        }
        let left: Vec<_> = std::fs::read_dir(lab.workspace.join("a/b")).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing is left behind");
    });
}

#[test]
fn an_edit_changes_what_it_names_and_nothing_else() {
    lab(async |lab| {
        let path = lab.write("run.sh", b"\xef\xbb\xbfone\r\ntwo\r\nthree\r\n");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        symlink("run.sh", lab.workspace.join("link")).unwrap();
        let input = json!({ "path": "link", "old_string": "one\ntwo", "new_string": "1\n2\n2.5" });
        let outcome = lab.run("edit_file", input).await;
        assert_eq!(outcome.content, format!("`{}`: 1 place changed, line 1", path.display()));
        assert_eq!(lab.text("run.sh"), "\u{feff}1\r\n2\r\n2.5\r\nthree\r\n");
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o755);
        assert!(lab.workspace.join("link").is_symlink());
        let diff = outcome.diff.unwrap();
        assert_eq!((diff.path, diff.new), (path.clone(), lab.text("run.sh")));
        let input = json!({ "path": "run.sh", "old_string": "2", "new_string": "x" });
        let error = lab.fails("edit_file", input).await;
        assert!(error.contains("occurs 2 times, in lines 2, 3"), "{error}");
        let input =
            json!({ "path": "run.sh", "old_string": "2", "new_string": "x", "replace_all": true });
        let done = lab.ok("edit_file", input).await;
        assert!(done.ends_with("2 places changed, lines 2, 3"), "{done}");
        assert_eq!(lab.text("run.sh"), "\u{feff}1\r\nx\r\nx.5\r\nthree\r\n");
        for (path, old, says) in [
            ("missing", "a", "there is no such file"),
            ("missing", "", "write_file makes it"),
            ("run.sh", "", "old_string is empty"),
            ("run.sh", "four", "was not changed: old_string is not in it"),
            (".", "a", "is not a file"),
        ] {
            let input = json!({ "path": path, "old_string": old, "new_string": "b" });
            let error = lab.fails("edit_file", input).await;
            assert!(error.contains(says), "{path} {old}: {error}");
        }
    });
}
