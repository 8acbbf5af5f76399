//! `glob` and `grep`.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::lab::{Lab, lab};

/// A workspace with files to search, of different ages, `old.rs` the oldest.
fn fill(lab: &Lab) {
    let now = SystemTime::now();
    for (age, name, text) in [
        (60, "src/old.rs", "fn old() {}\n// needle\n"),
        (50, "src/deep/mid.rs", "// Needle one\n// nothing\n// needle two\r\n"),
        (40, "README.md", "a needle\n"),
        (30, ".github/ci.yml", "needle: true\n"),
        (20, "target/built.rs", "needle\n"),
        (10, "data.bin", "needle\0\n"),
        (5, ".git/config", "needle\n"),
        (4, ".gitignore", "target/\n*.log\n"),
        (3, "a.log", "needle\n"),
    ] {
        let path = lab.write(name, text);
        let file = std::fs::File::options().append(true).open(path).unwrap();
        file.set_modified(now - Duration::from_secs(age)).unwrap();
    }
    std::os::unix::fs::symlink("..", lab.workspace.join("src/loop")).unwrap();
}

#[test]
fn files_are_found_by_name_newest_first() {
    lab(async |lab| {
        fill(lab);
        let none = "no file matches; files that .gitignore excludes were left out";
        for (input, expected) in [
            (json!({"pattern": "*.rs"}), "src/deep/mid.rs\nsrc/old.rs"),
            (json!({"pattern": "**/*.rs"}), "src/deep/mid.rs\nsrc/old.rs"),
            (json!({"pattern": "src/*.rs"}), "src/old.rs"),
            (json!({"pattern": "*.rs", "path": "src/deep"}), "src/deep/mid.rs"),
            (json!({"pattern": "mid.rs"}), "src/deep/mid.rs"),
            (json!({"pattern": "*.{md,yml}"}), ".github/ci.yml\nREADME.md"),
            (json!({"pattern": "**/ci*"}), ".github/ci.yml"),
            (json!({"pattern": "src/deep/../*.rs"}), "src/old.rs"),
            (
                json!({"pattern": lab.workspace.join("src/**").display().to_string()}),
                "src/deep/mid.rs\nsrc/old.rs",
            ),
            (json!({"pattern": "*.log"}), none),
            (json!({"pattern": "config"}), none),
            (json!({"pattern": "*.py"}), none),
        ] {
            assert_eq!(lab.ok("glob", input.clone()).await, expected, "{input}");
        }
        for (input, says) in [
            (json!({"pattern": "a[", "path": "src"}), "`pattern`: not a valid glob pattern"),
            (json!({"pattern": "*", "path": "nowhere"}), "there is no such file"),
            (json!({"pattern": "*", "path": "README.md"}), "is not a directory"),
        ] {
            let error = lab.fails("glob", input.clone()).await;
            assert!(error.contains(says), "{input}: {error}");
        }
        for n in 0..300 {
            lab.write(&format!("many/{n}.txt"), "");
        }
        let many = lab.ok("glob", json!({"pattern": "*.txt"})).await;
        assert!(many.ends_with("\n... 100 more, older; take a narrower pattern ..."), "{many}");
        assert_eq!(many.lines().count(), 201);
    });
}

#[test]
fn what_a_rule_holds_back_is_left_out_and_said_to_be() {
    lab(async |lab| {
        fill(lab);
        let note = "... files that rules exclude, or that may contain keys, were left out; name a path to search it ...";
        let at = |name: &str| lab.workspace.join(name);
        for (tool, input, except, expected) in [
            (
                "grep",
                json!({"pattern": "needle"}),
                vec![at("src/deep"), at("README.md")],
                format!(".github/ci.yml:1:needle: true\nsrc/old.rs:2:// needle\n{note}"),
            ),
            (
                "grep",
                json!({"pattern": "needle", "path": "src"}),
                vec![at("src/old.rs"), at("src/deep")],
                format!(
                    "nothing matches; binary files and files that .gitignore excludes were left out\n{note}"
                ),
            ),
            (
                "grep",
                json!({"pattern": "needle", "limit": 1}),
                vec![at(".github")],
                format!(
                    "README.md:1:a needle\n... more than 1 match; take a narrower pattern, path or \
                     glob, or a larger limit ...\n{note}"
                ),
            ),
            (
                "glob",
                json!({"pattern": "*.rs"}),
                vec![at("src/deep")],
                format!("src/old.rs\n{note}"),
            ),
            (
                "glob",
                json!({"pattern": "*.rs"}),
                vec![at("src")],
                format!("no file matches; files that .gitignore excludes were left out\n{note}"),
            ),
            // A prefix of a name is another file's name, and matches nothing here.
            (
                "glob",
                json!({"pattern": "*.rs"}),
                vec![at("sr"), at("src/ol")],
                "src/deep/mid.rs\nsrc/old.rs".to_owned(),
            ),
        ] {
            let (tell, _told) = tokio::sync::mpsc::unbounded_channel();
            let intent = lab.read(tool, input.clone()).leaving_out(except.clone());
            let outcome = lab.toolbox.run(intent, lab.key(), tell).await;
            assert_eq!(outcome.content, expected, "{tool} {input} without {except:?}");
        }
    });
}

#[test]
fn lines_are_found_by_what_they_say() {
    lab(async |lab| {
        fill(lab);
        let none = "nothing matches; binary files and files that .gitignore excludes were left out";
        let check = async |input: Value, expected: &str| {
            assert_eq!(lab.ok("grep", input.clone()).await, expected, "{input}");
        };
        check(
            json!({"pattern": "needle"}),
            ".github/ci.yml:1:needle: true\nREADME.md:1:a needle\nsrc/deep/mid.rs:3:// needle two\n\
             src/old.rs:2:// needle",
        )
        .await;
        check(json!({"pattern": "^a n.*e$"}), "README.md:1:a needle").await;
        check(
            json!({"pattern": "NEEDLE", "ignore_case": true, "glob": "*.rs", "path": "src/deep"}),
            "src/deep/mid.rs:1:// Needle one\nsrc/deep/mid.rs:3:// needle two",
        )
        .await;
        check(json!({"pattern": "needle", "glob": "src/*.rs"}), "src/old.rs:2:// needle").await;
        check(json!({"pattern": "needle", "glob": "!*.{rs,yml}"}), "README.md:1:a needle").await;
        check(json!({"pattern": "needle", "path": "README.md"}), "README.md:1:a needle").await;
        check(
            json!({"pattern": "needle", "path": "src/old.rs", "glob": "*.rs"}),
            "src/old.rs:2:// needle",
        )
        .await;
        check(
            json!({"pattern": "needle", "path": "src/old.rs", "glob": "old.*"}),
            "src/old.rs:2:// needle",
        )
        .await;
        check(json!({"pattern": "needle", "path": "src/old.rs", "glob": "!*.rs"}), none).await;
        check(
            json!({"pattern": "nothing", "context": 1}),
            "src/deep/mid.rs-1-// Needle one\nsrc/deep/mid.rs:2:// nothing\nsrc/deep/mid.rs-3-// needle two",
        )
        .await;
        check(
            json!({"pattern": r"one\n// nothing"}),
            "src/deep/mid.rs:1:// Needle one\nsrc/deep/mid.rs:2:// nothing",
        )
        .await;
        check(
            json!({"pattern": "needle", "limit": 1}),
            ".github/ci.yml:1:needle: true\n... more than 1 match; take a narrower pattern, path or \
             glob, or a larger limit ...",
        )
        .await;
        check(json!({"pattern": "absent"}), none).await;
        for (input, says) in [
            (json!({"pattern": "a("}), "`pattern` is not a regular expression: unclosed group"),
            (json!({"pattern": "a", "glob": "["}), "`glob`: not a valid glob pattern"),
            (json!({"pattern": "a", "path": "nowhere"}), "there is no such file"),
        ] {
            let error = lab.fails("grep", input.clone()).await;
            assert!(error.contains(says), "{input}: {error}");
        }
        lab.write("wide.txt", format!("{}wide\n", "é".repeat(1_000)).repeat(100));
        let wide = lab.ok("grep", json!({"pattern": "wide"})).await;
        assert!(wide.len() <= 16 << 10, "{}", wide.len());
        // The match is shown, and the number of bytes before it.
        assert!(wide.contains("1:... 1 604 bytes before ... éé"), "{wide}");
        assert!(wide.contains("ééwide\n") && wide.contains("shown and more there"), "{wide}");
    });
}
