//! Tools with which developers read code, in small real projects: confined to look, they print the same as unconfined.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::confine::is_here;
use crate::harness::{Daemon, Lab, id_of};

const FILES: &[(&str, &str)] = &[
    ("rust/Cargo.toml", "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
    (
        "rust/src/main.rs",
        "fn main() {\n    println!(\"{}\", small());\n}\nfn small() -> u32 {\n    42\n}\n",
    ),
    (
        "node/package.json",
        r#"{"name": "small", "version": "1.0.0", "dependencies": {"dep": "1.2.3"}}"#,
    ),
    ("node/node_modules/dep/package.json", r#"{"name": "dep", "version": "1.2.3"}"#),
    ("node/index.js", "module.exports = () => 42;\n"),
    ("python/pyproject.toml", "[project]\nname = \"small\"\nversion = \"0.1\"\n"),
    ("python/small/__init__.py", "def small():\n    return 42\n"),
    ("go/go.mod", "module small\n\ngo 1.21\n"),
    ("go/small.go", "package small\n\nfunc Small() int { return 42 }\n"),
    ("Makefile", "all: made\nmade:\n\techo make > made\n"),
    ("data.json", r#"{"a": [1, {"b": 42}]}"#),
    (".gitignore", ".env*\ntarget\nnode_modules\n__pycache__\nCargo.lock\n"),
    // Files with keys between the others, as in real projects.
    (".env", "TOKEN=secret\n"),
    ("node/.env.local", "TOKEN=secret\n"),
];

/// The program and the line, which starts in the top directory of the repository.
const LINES: &[(&str, &str)] = &[
    ("git", "git status"),
    ("git", "git status --short --branch"),
    ("git", "git diff"),
    ("git", "git diff HEAD~1 --stat"),
    ("git", "git log --oneline --decorate"),
    ("git", "git log -p -1 -- rust"),
    ("git", "git show HEAD"),
    ("git", "git show HEAD:Makefile"),
    ("git", "git blame HEAD rust/src/main.rs"),
    ("git", "git branch -a && git tag"),
    ("git", "git ls-files && git rev-parse HEAD"),
    ("git", "git grep -n small"),
    ("cargo", "cd rust && cargo metadata --format-version 1 --offline --no-deps"),
    ("cargo", "cd rust && cargo tree --offline"),
    ("cargo", "cargo --version"),
    ("rustc", "rustc --version --verbose"),
    ("node", "node -e 'console.log(require(\"./node\")(), process.version)'"),
    ("node", "node --check node/index.js"),
    ("npm", "cd node && npm ls"),
    ("npm", "npm --version"),
    (
        "python3",
        "cd python && python3 -c 'import small, json; print(small.small(), json.dumps([1]))'",
    ),
    ("python3", "cd python && python3 -m compileall -q -n small 2>&1 | head -1; python3 --version"),
    ("go", "cd go && go list ./..."),
    ("go", "cd go && go vet ./..."),
    ("make", "make -n"),
    ("rg", "rg -n small | sort"),
    ("jq", "jq '.a[1].b' data.json"),
    ("grep", "grep -rn small --include=*.rs ."),
    ("find", "find . -name '*.rs' -newer Makefile -o -name '*.js' | sort"),
    ("sed", "sed -n 1,2p rust/src/main.rs"),
    ("awk", "awk '{ n += NF } END { print n }' rust/src/main.rs"),
    ("wc", "cat rust/src/main.rs | wc -l && du -s rust/src | cut -f2 && file Makefile"),
    ("diff", "diff rust/Cargo.toml python/pyproject.toml"),
    ("tar", "tar -cf - rust | tar -tf -"),
    ("ls", "ls -l rust && stat -c %s data.json && tree rust"),
    ("ps", "ps -o comm= -p $$ && uname -s && date +%Y && env | grep -c PATH= && id -un && nproc"),
];

fn is_installed(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    found.is_ok_and(|output| output.status.success())
}

/// Makes a repository with a history and an uncommitted change.
fn make(lab: &Lab) {
    for (path, text) in FILES {
        let path = lab.file(path);
        fs::create_dir_all(path.parent().expect("a parent directory")).expect("it can be created");
        fs::write(path, text).expect("it can be written");
    }
    let line = "git init -q -b main . && git config user.name N && git config user.email e@e && \
                git add Makefile && git commit -q -m one && git add . && git commit -q -m two && \
                echo '// more' >> rust/src/main.rs";
    let made = Command::new("sh").args(["-c", line]).current_dir(lab.workspace()).status();
    assert!(made.is_ok_and(|status| status.success()), "git makes a repository");
}

/// The exit status and the output of a line.
fn run(daemon: &Daemon, line: &str, more: serde_json::Value) -> (serde_json::Value, String) {
    let mut params = json!({ "command": line });
    params.as_object_mut().expect("one").extend(more.as_object().expect("one").clone());
    let id = id_of(&daemon.spawn(params));
    (daemon.exited(&id)["task"]["exit"]["code"].clone(), daemon.output(&id))
}

#[test]
fn looking_tools_show_in_small_projects_what_they_show_unconfined() {
    let lab = Lab::new();
    make(&lab);
    // The user's home has the toolchains.
    let home = std::env::var("HOME").expect("tests run with a home");
    let daemon = lab.start().env("HOME", &home).go();
    if !is_here(&daemon) {
        return;
    }
    let lines: Vec<&str> = LINES.iter().filter(|it| is_installed(it.0)).map(|it| it.1).collect();
    assert!(lines.len() > 20, "most of these tools are on every developer's machine: {lines:?}");
    let open: Vec<_> = lines.iter().map(|line| run(&daemon, line, json!({}))).collect();
    let before = picture(&lab);
    let mut wrong = Vec::new();
    for (line, open) in lines.iter().zip(open) {
        let held = run(&daemon, line, json!({ "confine": "look" }));
        if open != held {
            wrong.push(format!("{line}\n  open: {open:?}\n  held: {held:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), lines.len(), wrong.join("\n"));
    assert_eq!(picture(&lab), before, "nothing was changed");
}

/// The files in the workspace with size, modification time and mode.
fn picture(lab: &Lab) -> String {
    let line = "find . -printf '%p %s %T@ %m\n' | sort";
    let output = Command::new("sh").args(["-c", line]).current_dir(lab.workspace()).output();
    String::from_utf8(output.expect("find runs").stdout).expect("names are text")
}
