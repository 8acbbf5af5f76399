//! The effect of rules, alone and in combination.

use super::*;

/// Checks the verdict on each line under its rules.
fn check(rows: &[(&[&str], &str, &str)]) {
    let (scene, mut table) = (Scene::new(), Table::default());
    for (rules, line, expected) in rows {
        table.row(effect(&scene.line(rules, line)), expected, format!("{line} with {rules:?}"));
    }
}

#[test]
fn a_rule_for_a_command_is_for_that_command() {
    let (scene, mut table) = (Scene::new(), Table::default());
    let rules = ["allow bash git status", "allow bash npm run 'a b'", "allow bash FOO=1 make"];
    for (line, expected) in [
        ("git status --anything $x", "allow"),
        ("git   'status'", "allow"),
        ("g\"it\" status", "allow"),
        ("git statusx", "ask"),
        ("git status; rm b", "ask"),
        ("git status && rm b", "ask"),
        ("git status | rm b", "ask"),
        ("git status & rm b", "ask"),
        ("git status\nrm b", "ask"),
        ("git status $(rm b)", "ask"),
        ("git status `rm b`", "ask"),
        ("git status > a.txt", "ask"),
        ("git -c core.pager=x status", "ask"),
        ("GIT_DIR=bare git status", "ask"),
        ("./git status", "ask"),
        ("/usr/bin/git status", "ask"),
        ("git $x status", "ask"),
        ("git {status,x} a", "ask"),
        ("npm run 'a b' c", "allow"),
        ("npm run a b", "ask"),
        ("npm run a\\ b", "allow"),
        ("FOO=1 make x", "allow"),
        ("FOO=2 make x", "ask"),
        ("make x", "ask"),
        ("BAR=1 FOO=1 make x", "ask"),
    ] {
        table.row(effect(&scene.line(&rules, line)), expected, line.to_string());
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn deny_wins_over_ask_and_ask_over_allow() {
    check(&[
        (&["allow bash npm", "ask bash npm publish"][..], "npm publish x", "ask"),
        (&["allow bash npm", "ask bash npm publish"], "npm test", "allow"),
        (&["deny bash npm publish", "allow bash npm"], "npm publish", "deny"),
        (&["allow bash npm publish", "deny bash npm"], "npm publish", "deny"),
        (&["allow bash", "deny bash rm"], "rm b", "deny"),
        (&["allow bash", "deny bash rm"], "/bin/rm b", "deny"),
        (&["allow bash", "deny bash rm"], "ls; true && (rm b)", "deny"),
        (&["allow bash", "deny bash rm"], "echo $(rm b)", "deny"),
        (&["allow bash", "deny bash rm"], "sudo -u x rm b", "deny"),
        (&["allow bash", "deny bash rm"], "env X=1 nohup rm b", "deny"),
        (&["allow bash", "deny bash rm"], "X=1 rm b", "deny"),
        (&["allow bash", "deny bash rm"], "sh -c 'cd x && rm b'", "deny"),
        (&["allow bash", "deny bash rm"], "ls | xargs rm", "deny"),
        (&["allow bash", "deny bash rm"], "find . -exec rm {} +", "deny"),
        (&["allow bash", "deny bash rm"], "if true; then rm b; fi", "deny"),
        (&["allow bash", "deny bash rm"], "f() { rm b; }; f", "deny"),
        (&["allow bash", "deny bash rm"], "cat <<EOF\n$(rm b)\nEOF", "deny"),
        (&["allow bash", "deny bash rm"], "r''m b", "deny"),
        (&["allow bash", "deny bash rm"], "touch x", "allow"),
        // A command that may be a forbidden one does not run without asking.
        (&["allow bash", "deny bash rm"], "$x b", "ask"),
        (&["allow bash", "deny bash rm"], "eval \"$x\"", "ask"),
        (&["allow bash", "deny bash rm"], "[[ -f x ]] && touch y", "ask"),
        (&["allow bash", "deny bash rm"], "sh x.sh", "ask"),
        (&["allow bash", "deny bash rm"], "meanwhile spawn -- rm b", "ask"),
        (&["allow bash", "deny bash rm"], "meanwhile spawn --queue x -- rm b", "ask"),
        (&["allow bash", "deny bash rm"], "meanwhile $x -- rm b", "ask"),
        (&["allow bash", "deny bash rm"], "meanwhile ps", "allow"),
        (&["allow bash", "deny bash rm"], "flock a rm b", "deny"),
        (&["allow bash", "deny bash rm"], "taskset 1 rm b", "deny"),
        (&["allow bash", "deny bash rm"], "chrt 1 rm b", "deny"),
        (&["allow bash", "deny bash rm"], "setpriv rm b", "deny"),
        (&["allow bash", "deny bash rm"], "prlimit rm b", "deny"),
        (&["allow bash", "deny bash rm"], "numactl rm b", "deny"),
        (&["allow bash", "deny bash rm"], "runuser -u x rm b", "deny"),
        (&["allow bash", "deny bash rm"], "systemd-run rm b", "deny"),
        (&["allow bash", "deny bash rm"], "unbuffer rm b", "deny"),
        (&["allow bash", "deny bash rm"], "rlwrap rm b", "deny"),
        (&["allow bash", "deny bash rm"], "fakeroot rm b", "deny"),
        (&["allow bash", "deny bash rm"], "ltrace rm b", "deny"),
        (&["allow bash", "deny bash rm"], "xvfb-run rm b", "deny"),
        (&["allow bash", "deny bash rm"], "ls | entr rm b", "deny"),
        (&["allow bash", "deny bash rm"], "direnv exec . rm b", "deny"),
        (&["allow bash", "deny bash rm"], "dbus-run-session -- rm b", "deny"),
        (&["allow bash", "deny bash rm"], "hyperfine 'rm b'", "ask"),
        (&["allow bash", "deny bash rm"], "start-stop-daemon -S -x rm b", "deny"),
        (&["allow bash", "deny bash rm"], "test -v 'a[$(rm b)]'", "ask"),
        (&["allow bash", "deny bash rm"], "read 'a[`rm b`]' <<< 1", "ask"),
        // Read-only commands are checked more strictly if a rule allows the rest of the line to run unconfined.
        (&["allow bash make"], "make | grep -v x | tail -n 5", "allow"),
        (&["allow bash make"], "make; for x in 1 2; do make; done; echo done", "allow"),
        (&["allow bash make"], "make; grep -r KEY", "ask"),
        (&["allow bash make"], "make; grep -d recurse KEY .", "ask"),
        (&["allow bash make"], "make; uniq a.txt b.txt", "ask"),
        (&["allow bash make"], "make; test -v 'a[$(touch b)]'", "ask"),
        (&["allow bash make"], "printf 'x%n' PATH; make", "ask"),
        (&["allow bash make"], "for PATH in .; do make; done", "ask"),
        (&["allow bash make"], "cat .env; make", "ask"),
        (&["allow bash make"], "cd $x && make", "ask"),
        (&["allow bash make"], "cd out && make", "ask"),
        (&["allow bash make"], "f() { make; }; f", "ask"),
        (&["allow bash make"], "timeout 5 make", "allow"),
        (&["allow bash make"], "env -u make x", "ask"),
        (&["allow bash make"], "nice -n 5 make", "ask"),
        (&["allow bash make"], "find . -execdir make \\;", "ask"),
        // A rule for a command covers its input, including the value of a variable.
        (&["allow bash ./send"], "./send <<< $TOKEN", "allow"),
        (&["allow bash ./send"], "./send <<EOF\n$TOKEN\nEOF", "allow"),
        (&["allow bash ./send"], "./send <<EOF; cat <<E\nEOF\n$TOKEN\nE", "ask"),
        (&["allow bash"], "cat <<< $TOKEN", "allow"),
        (&["allow bash"], "$x b; eval y; [[ -f x ]]", "allow"),
        (&["allow bash"], "sudo rm -rf / > ~/.ssh/x", "allow"),
        (&["allow *"], "rm -rf / > x", "allow"),
        (&["deny *"], "ls", "deny"),
        (&["deny bash"], "ls", "deny"),
        (&["ask bash"], "ls", "ask"),
        (&["ask bash git diff"], "git diff", "ask"),
        (&["allow bash git", "deny bash git push"], "git push", "deny"),
        (&["allow bash git", "deny bash git push"], "git -C x push", "ask"),
        (&["allow bash git", "deny bash git push"], "git --no-pager push", "ask"),
        (&["allow bash git", "deny bash git push"], "git $x", "ask"),
        (&["allow bash git", "deny bash git push"], "git commit -m push", "allow"),
        (&["allow bash git", "deny bash git push"], "git log push", "allow"),
        // A rule for the wrapper covers the commands that it runs, except those that another rule holds back.
        (&["allow bash sudo apt"], "sudo apt update", "allow"),
        (&["allow bash sudo"], "sudo rm b", "allow"),
        (&["allow bash sudo", "deny bash rm"], "sudo rm b", "deny"),
        (&["allow bash sudo", "ask bash rm"], "sudo rm b", "ask"),
        (&["allow bash apt"], "sudo apt update", "ask"),
        (&["allow bash sh x.sh"], "sh x.sh y", "allow"),
        (&["allow bash cat"], "cat ../other/file .env", "allow"),
        (&["allow bash cat", "deny read .env"], "cat .env", "deny"),
        (&["allow bash cat", "ask read ../other"], "cat out/file", "ask"),
        (&["allow bash grep"], "find . -exec grep x {} +", "allow"),
        (&["allow bash grep"], "ls | xargs grep x", "allow"),
        (&["allow background_run npm test"], "npm test", "allow"),
        (&["allow write ."], "echo x > a.txt", "allow"),
        (&["allow write ."], "echo x > ../y", "ask"),
        (&["allow write ."], "echo x > out/y", "ask"),
        (&["allow write ."], "echo x > .git/config", "ask"),
        (&["allow write src"], "ls > src/x; ls > y", "ask"),
        (&["allow write src"], "cd src && ls > x", "allow"),
        (&["allow read /etc"], "cat /etc/hosts", "look"),
        (&["allow read ~"], "cat ~/other/file", "look"),
        (&["allow read ~"], "cat ~/.ssh/id_rsa", "ask"),
        (&["allow read ~/.ssh/id_rsa"], "cat ~/.ssh/id_rsa", "look"),
        (&["allow read"], "cat ~/.ssh/id_rsa", "look"),
        (&["allow read .env"], "cat .env", "look"),
        (&["deny read ../other"], "cat src/link.rs", "deny"),
        (&["deny read src/link.rs"], "cat src/link.rs", "deny"),
        (&["deny write"], "ls > a.txt", "deny"),
    ]);
}

/// A `cd` counts for the commands after it only if it is certain.
#[test]
fn a_directory_is_entered_only_by_the_shell_itself() {
    check(&[
        (&["allow write ."][..], "(cd src); ls > ../x", "ask"),
        (&["allow write ."], "(cd src; ls > ../x)", "allow"),
        (&["allow write ."], "true | cd src; ls > ../x", "ask"),
        (&["allow write ."], "cd src & ls > ../x", "ask"),
        (&["allow write ."], "false && cd src; ls > ../x", "ask"),
        (&["allow write ."], "true && cd src && ls > ../x", "allow"),
        (&["allow write ."], "false && cd src || ls > ../x", "ask"),
        (&["allow write ."], "true || cd src; ls > ../x", "ask"),
        (&["allow write ."], "sh -c 'cd src'; ls > ../x", "ask"),
        (&["allow write ."], "env cd src; ls > ../x", "ask"),
        (&["allow write ."], "echo $(cd src; pwd); ls > ../x", "ask"),
        (&["allow write ."], "if false; then cd src; fi; ls > ../x", "ask"),
        (&["allow write ."], "f() { cd src; }; ls > ../x", "ask"),
        (&["allow bash git status"], "git status; false && cd src; cat ../other/file", "ask"),
        (&["allow bash git status"], "(cd src); cat ../other/file; git status", "ask"),
        (&["allow bash", "deny read a.txt"], "(cd src); cat a.txt", "deny"),
        (&["allow bash", "deny read a.txt"], "cd src & cat a.txt", "ask"),
        (&["allow bash", "deny read a.txt"], "pushd src; cat a.txt", "ask"),
        (&["allow bash make"], "(cd src && make)", "allow"),
        (&["allow bash make"], "cd src && make; make", "allow"),
        (&["allow bash make"], "true && cd src && make; make", "ask"),
        // Files outside of the workspace may determine what a command does.
        (&["allow bash git status"], "cd ../other && git status", "ask"),
        (&["allow bash make"], "cd ../other && make", "ask"),
    ]);
}

#[test]
fn what_changes_how_a_line_is_read_is_asked() {
    check(&[
        (&["allow bash git status"][..], "set -k; git status GIT_CONFIG_COUNT=1", "ask"),
        (&["allow bash git status"], "set -o histexpand; git status", "ask"),
        (&["allow bash git status"], "set -euo pipefail; git status", "allow"),
        (&["allow bash", "deny bash rm"], "set -o history -o histexpand; ls", "ask"),
        (&[], "set -euo pipefail; ls", "look"),
        (&["allow bash", "deny bash rm"], "ls a.txt | xargs -I F rm F", "deny"),
        (&["allow bash", "deny bash rm"], "env -u X rm a.txt", "deny"),
        (&["allow bash", "deny bash rm"], "timeout -s KILL 5 rm a.txt", "deny"),
        (&["allow bash", "deny bash rm"], "stdbuf -o L rm a.txt", "deny"),
        (&["allow bash", "deny bash rm"], "env -S 'rm a.txt'", "ask"),
    ]);
}

#[test]
fn what_git_keeps_is_closed_to_what_may_run_git_unseen() {
    let (scene, mut table) = (Scene::new(), Table::default());
    std::fs::create_dir(scene.workspace.join(".git/objects")).expect("it is ours");
    for (line, expected) in [
        ("sed '1e git show HEAD:.env' a.txt", "closed"),
        ("sed -n -f a.txt a.txt", "closed"),
        ("sed -n 1,20p -s a.txt", "closed"),
        ("sed -n 1,20p a.txt", "open"),
        ("sort --compress-program=x a.txt", "closed"),
        ("rg --pre x y", "closed"),
        ("npm ls", "closed"),
        ("sort a.txt | head -n 1; cat a.txt", "open"),
        ("git status", "open"),
    ] {
        let Verdict::Allow(Some(confine)) = scene.line(&[], line) else { panic!("{line}") };
        let is_kept = confine.hidden.iter().any(|it| it.ends_with(".git/objects"));
        table.row(if is_kept { "closed" } else { "open" }, expected, line.to_owned());
    }
    // A command that a rule allows to work needs these files.
    let (line, cwd) = ("make".to_owned(), scene.workspace.clone());
    let access = Access::Command { line, cwd, level: Some(Level::Work) };
    let Verdict::Allow(Some(confine)) = scene.judge(&["allow bash make"], "bash", vec![access])
    else {
        panic!("a rule lets it run");
    };
    assert_eq!((confine.mode, confine.hidden), (Mode::Work, Vec::new()));
    // git finds a bare repository before the one around it.
    let kept = crate::confine::objects(&scene.workspace.join("bare/refs"));
    assert_eq!(kept, [scene.workspace.join("bare/objects")]);
    for (line, expected) in [
        ("git log --oneline -n 5 -- src", false),
        ("git log --decorate --since=yesterday", false),
        ("git log --decorate-refs -- -p", true),
        ("git log -p", true),
        ("git config --list", false),
        ("git config --list --blob=HEAD:.pypirc", true),
    ] {
        let words: Vec<Option<&str>> = line.split(' ').map(Some).collect();
        let shows = crate::agent::permission::programs::shows_content(&words);
        table.row(shows.to_string(), &expected.to_string(), line.to_owned());
    }
}

#[test]
fn where_a_command_runs_counts() {
    let (scene, mut table) = (Scene::new(), Table::default());
    for (rules, cwd, expected) in [
        (&["allow bash make"][..], "src", "allow"),
        (&["allow bash make"], "../other", "ask"),
        (&["allow bash make", "allow read ../other"], "../other", "allow"),
        (&["allow bash"], "../other", "allow"),
        (&["allow bash", "deny read ../other"], "../other", "deny"),
        (&["allow bash", "deny read ../other"], "out", "deny"),
    ] {
        let verdict = scene.line_in(rules, "make", cwd);
        table.row(effect(&verdict), expected, format!("{cwd} with {rules:?}"));
    }
}

#[test]
fn only_a_rule_that_names_a_place_lets_a_command_run_there() {
    let (scene, mut table) = (Scene::new(), Table::default());
    for (rules, line, expected) in [
        (&[][..], "npm test", "ask + allow bash@gpu npm test"),
        (&[], "ls", "ask"),
        (&["allow bash npm test"], "npm test", "ask + allow bash@gpu npm test"),
        (&["allow *"], "npm test", "ask + allow bash@gpu npm test"),
        (&["allow bash@gpu npm test"], "npm test", "allow"),
        (&["allow bash@gpu npm test"], "npm test && rm -rf x", "ask"),
        (&["allow bash@other npm test"], "npm test", "ask + allow bash@gpu npm test"),
        (&["allow bash@gpu"], "npm test", "allow"),
        (&["allow bash@gpu", "deny bash rm"], "rm x", "deny"),
        (&["allow bash@gpu", "ask bash rm"], "rm x", "ask"),
        (&["allow bash@gpu", "deny bash@gpu rm"], "rm x", "deny"),
        (&["allow bash@gpu", "deny bash@other rm"], "rm x", "allow"),
    ] {
        let access = Access::Elsewhere {
            place: "gpu".to_owned(),
            line: line.to_owned(),
            cwd: scene.workspace.clone(),
        };
        let verdict = scene.judge(rules, "background_run", vec![access]);
        let said = match rules.is_empty() || expected.contains('+') {
            true => said(&verdict),
            false => effect(&verdict).to_owned(),
        };
        table.row(said, expected, format!("{line} with {rules:?}"));
    }
    // A rule for a place allows nothing on this machine.
    let verdict = scene.line(&["allow bash@gpu npm test"], "npm test");
    table.row(effect(&verdict), "ask", "here".to_owned());
}

#[test]
fn a_rule_for_a_tool_is_for_that_tool() {
    let (scene, mut table) = (Scene::new(), Table::default());
    let file = || scene.workspace.join("src/main.rs");
    let task = || crate::background::task::TaskId::random();
    let command = || Access::Command {
        line: "npm test".to_owned(),
        cwd: scene.workspace.clone(),
        level: None,
    };
    let (read, write) = (|| vec![Access::Read(file())], || vec![Access::Write(file())]);
    for (rules, tool, access, expected) in [
        (&["allow bash npm test"][..], "background_run", vec![command()], "allow"),
        (&["deny background_run"], "bash", vec![command()], "deny"),
        (&["allow write_file"], "write_file", write(), "allow"),
        (&["allow write_file"], "edit_file", write(), "ask"),
        (&["allow write"], "edit_file", write(), "allow"),
        (&["allow write src"], "edit_file", write(), "allow"),
        (&["allow write sr"], "edit_file", write(), "ask"),
        (&["allow write .", "deny edit_file src"], "edit_file", write(), "deny"),
        (&["allow *"], "edit_file", write(), "allow"),
        (&["allow bash"], "edit_file", write(), "ask"),
        (&["deny read src"], "grep", read(), "deny"),
        (&["deny read src"], "edit_file", write(), "ask"),
        (&["deny grep"], "read_file", read(), "allow"),
        (&["ask read_file src/main.rs"], "read_file", read(), "ask"),
        (&[], "stop_background", vec![Access::Task(task())], "allow"),
        (&["ask stop_background"], "stop_background", vec![Access::Task(task())], "ask"),
        (&["deny *"], "update_plan", vec![], "deny"),
        (&["deny bash"], "update_plan", vec![], "allow"),
        // The strictest verdict on its parts counts.
        (&["allow write ."], "edit_file", [read(), write()].concat(), "allow"),
        (&["deny read ."], "edit_file", [read(), write()].concat(), "deny"),
    ] {
        let verdict = scene.judge(rules, tool, access);
        table.row(effect(&verdict), expected, format!("{tool} with {rules:?}: {verdict:?}"));
    }
}

/// An unconfined command cannot use files that rules deny, whatever its words are, if the kernel can prevent it.
#[test]
fn a_rule_about_files_goes_with_a_command_that_is_allowed() {
    let (scene, mut table) = (Scene::new(), Table::default());
    for (rules, line, expected) in [
        (&["allow bash"][..], "x=.e; cat ${x}nv", "allow"),
        (&["allow bash", "deny read .env"], "x=.e; cat ${x}nv", "open [.env] []"),
        (&["allow bash", "deny read .env"], "x=.env; cat $x", "deny"),
        (&["allow bash make", "deny read out/file"], "make", "open [../other/file] []"),
        (&["allow bash make", "deny write src"], "make", "open [] [src]"),
        (&["allow bash", "deny write src"], "x=sr; touch ${x}c/y", "open [] [src]"),
        // Without the workspace no command could run.
        (&["allow bash", "deny read ~", "deny write"], "make", "deny"),
        (&["allow bash make", "ask read .env"], "make", "allow"),
    ] {
        let said = match scene.line(rules, line) {
            Verdict::Allow(Some(Confine { mode, hidden, sealed, .. })) => {
                let show = |paths: Vec<PathBuf>| {
                    let home = paths.iter().map(|it| match it.strip_prefix(&scene.workspace) {
                        Ok(inside) => inside.display().to_string(),
                        Err(_) => {
                            let inside = it.strip_prefix(&scene.home).expect("it lies there");
                            format!("../{}", inside.display())
                        }
                    });
                    home.collect::<Vec<_>>().join(" ")
                };
                format!("{} [{}] [{}]", mode.name(), show(hidden), show(sealed))
            }
            verdict @ (Verdict::Allow(None) | Verdict::Ask { .. } | Verdict::Deny { .. }) => {
                effect(&verdict).to_owned()
            }
        };
        table.row(said, expected, format!("{line} with {rules:?}"));
    }
}

/// Confinement to work is at least as strict: files that must not be written are sealed there, too, and if nothing
/// may be read, nothing runs.
#[test]
fn a_rule_about_files_goes_with_work_as_well() {
    let scene = Scene::new();
    let judge = |rules: &[&str]| {
        let (line, cwd) = ("make".to_owned(), scene.workspace.clone());
        let access = Access::Command { line, cwd, level: Some(Level::Work) };
        scene.judge(rules, "bash", vec![access])
    };
    let Verdict::Allow(Some(confine)) = judge(&["allow bash make", "deny write src"]) else {
        panic!("a rule lets it run");
    };
    assert_eq!((confine.mode, confine.sealed), (Mode::Work, vec![scene.workspace.join("src")]));
    let verdict = judge(&["allow bash make", "deny read"]);
    assert!(matches!(verdict, Verdict::Ask { .. } | Verdict::Deny { .. }), "{verdict:?}");
}

/// The directory decides whether a search is allowed; paths in it that a rule holds back are skipped.
#[test]
fn a_search_leaves_out_what_is_held_back_below_it() {
    let (scene, mut table) = (Scene::new(), Table::default());
    for (rules, tool, path, expected) in [
        (&["deny read src"][..], "grep", "", "[work/src]"),
        (&["ask read src/main.rs", "deny read .env"], "grep", "", "[work/src/main.rs][work/.env]"),
        (&["deny read src"], "glob", "", "[work/src]"),
        (&["deny grep src"], "grep", "", "[work/src]"),
        (&["deny grep src"], "glob", "", ""),
        (&["deny * src"], "grep", "", "[work/src]"),
        (&["deny read out"], "grep", "..", "[other]"),
        (&["deny read ~/.ssh"], "grep", "..", "[.ssh]"),
        (&["deny read src/new"], "grep", "src", "[work/src/new]"),
        // This is decided earlier, by the verdict.
        (&["deny read src"], "grep", "src", ""),
        (&["deny read ."], "grep", "src", ""),
        (&["deny read sr"], "grep", "src", ""),
        (&["allow read src", "deny write src", "deny bash src"], "grep", "", ""),
        (&["deny read"], "grep", "", ""),
    ] {
        let rules_in_force = rules.iter().map(|it| it.parse().expect(it)).collect();
        let rules_in_force =
            Rules { rules: rules_in_force, home: Some(scene.home.clone()), ..Rules::default() };
        let path = paths::resolve(&scene.workspace.join(path)).expect("it is absolute");
        let tool = Builtin::named(tool).expect(tool);
        let intent = Intent::new(tool, String::new(), Kind::Search, vec![Access::Read(path)]);
        let held = rules_in_force.left_out(&intent, &scene.workspace);
        let shown = held.iter().map(|it| {
            format!("[{}]", it.strip_prefix(&scene.home).expect("it lies in it").display())
        });
        table.row(shown.collect::<String>(), expected, format!("{tool} with {rules:?}"));
    }
}

#[test]
fn the_reason_says_what_it_is_about() {
    let scene = Scene::new();
    for (rules, line, expected) in [
        (&[][..], "rm -rf b", "`rm -rf b` has no rule"),
        (&[], "ls; rm b; touch c", "`rm b` has no rule; `touch c` has no rule"),
        (&[], "echo x > a.txt", "it writes `a.txt`"),
        (&[], "cat .env", "`.env` may hold keys"),
        (&[], "cat /srv/hosts", "it reads `/srv/hosts`, outside of the workspace"),
        (&[], "[[ a ]]", "cannot tell what it runs: `[[`"),
        (
            &[],
            "$x y",
            "cannot tell what it runs: which command `$.. y` runs is only known at run time",
        ),
        (&[], "PATH=. ls", "it sets `PATH` for a command"),
        (&["deny bash rm"], "ls && rm b", "the rule `deny bash rm` forbids `rm b`"),
        (&["ask bash ls"], "ls", "`ls` falls under the rule `ask bash ls`"),
        (&["deny write"], "ls > x", "the rule `deny write` forbids to write `x`"),
        (&[], "rm 'a\nb'", "`rm a\\nb` has no rule"),
    ] {
        match scene.line(rules, line) {
            Verdict::Ask { why, .. } | Verdict::Deny { why } => assert_eq!(why, expected, "{line}"),
            Verdict::Allow(_) => panic!("{line} is allowed"),
        }
    }
}
