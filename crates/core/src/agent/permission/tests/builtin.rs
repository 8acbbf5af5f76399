//! What holds where nobody has set a rule.

use super::*;

#[test]
fn what_only_looks_in_the_workspace_runs_unasked() {
    let (scene, mut table) = (Scene::new(), Table::default());
    for line in [
        "ls",
        "ls -la src",
        "pwd && ls",
        "cat a.txt",
        "cat ./src/../a.txt",
        "cat src/main.rs | head -n 20 | wc -l",
        "head -5 a.txt; tail -n 3 a.txt",
        "cat *.txt",
        "sort a*",
        "sort -- *.txt",
        "wc -l ./*.txt src/m*.rs",
        "grep -rn 'fn main' src",
        "grep -A 3 '/etc' src/main.rs",
        "grep -n '../x' a.txt",
        "rg --files | sort -u",
        "rg -n 'a|b' src -g '*.rs'",
        "find . -name '*.rs' -type f",
        "find src -maxdepth 1 -mtime -3",
        "sed -n 1,20p src/main.rs",
        "sed -n '$p' a.txt",
        "git status",
        "git status --short",
        "git --no-pager diff --stat",
        "git diff HEAD~1 -- src",
        "git log --oneline -n 5",
        "git log -5 --pretty=format:%h",
        "git show HEAD:src/main.rs",
        "git branch -a",
        "git ls-files src",
        "echo hello > /dev/null",
        "echo hello 2>&1",
        "ls missing 2>/dev/null || echo none",
        "echo $HOME ${PWD} $? $(pwd) `pwd`",
        "x=1; echo $x",
        "x=$HOME; echo $x",
        "cat <<< $PWD",
        "for x in $y \"$@\" $HOME; do echo $x; done",
        "echo \"$(git status)\"",
        "time ls",
        "timeout 5 ls",
        "nice -n 5 ls",
        "env LANG=C ls",
        "LC_ALL=C ls",
        "GIT_PAGER=cat git log",
        "sh -c 'ls; git status'",
        "bash -lc 'cat a.txt'",
        "if test -f a.txt; then echo yes; else echo no; fi",
        "for x in 1 2 3; do echo $x; done",
        "while true; do sleep 1; done",
        "{ ls; pwd; }",
        "( ls ) 2>/dev/null",
        "! ls",
        "cat <<EOF\n$(pwd) and $HOME\nEOF",
        "cat <<'EOF'\n$(rm -rf b)\nEOF",
        "cat <<-END\n\ttext\n\tEND\nls",
        "cd src && cat main.rs",
        "cd src && ls .",
        "while read -r line; do echo $line; done < a.txt",
        "[ -f a.txt ] && ls",
        "ls # ; rm -rf b",
        "echo 'a && rm -rf b'",
        "echo a\\;rm",
        "echo {} $((1 + 2))",
        "xargs",
        "ls | xargs echo",
        "ls &",
        "set -e; ls",
        "diff <(ls src) <(ls .)",
        "cat < a.txt",
        "command -v cargo",
        "git log --format='%an <%ae>'",
        "date +%s",
        "",
        "# nothing",
    ] {
        let verdict = scene.line(&[], line);
        table.row(effect(&verdict), "look", format!("{line} ({verdict:?})"));
    }
}

/// What no reader could tell apart: it could write, run another program or show a key, where the kernel
/// did not hold it.
#[test]
fn what_could_do_more_runs_where_it_cannot() {
    let (scene, mut table) = (Scene::new(), Table::default());
    for line in [
        "cat /etc/passwd",
        "cat ~root/x",
        "cat src/*.rs",
        "cat src/l*.rs",
        "cat .e*",
        "cat .*",
        "cat {.env,a.txt}",
        "cat $x",
        "cat \"$(ls)\"",
        "ls ..",
        "ls /",
        "cd .. && ls",
        "cd src && ls ..",
        "cd src/.. && cat ../x",
        "cd out && ls",
        "grep -f../other/file a",
        "grep --file=../other/file a.txt",
        "find / -name x",
        "find -L . -name x",
        "wc --files0-from=../other/file",
        "du --files0-from=x",
        "sed -n 'w out' a.txt",
        "sed -n '1e rm' a.txt",
        "sort *",
        "sort -u *.txt",
        "rg a *",
        "sed -n 1p *",
        "find * -name x",
        "find [a]* -name x",
        "wc -l ?",
        "sort --outp=out a.txt",
        "date 010100002020",
        "hostname evil",
        "find . -name .env -exec cat {} +",
        "rg --search-zip a",
        "rg -z a",
        "git diff --outp=x",
        "git diff --no-index a.txt src",
        "git status $x",
        "ls | xargs cat",
        "echo $AWS_SECRET_ACCESS_KEY",
        "echo ${AWS_SECRET_ACCESS_KEY}",
        "x=$AWS_SECRET_ACCESS_KEY; echo $x",
        "x=a y=b${AWS_SECRET_ACCESS_KEY}c; echo $y",
        "LANG=$AWS_SECRET_ACCESS_KEY; echo $LANG",
        "TZ=$AWS_SECRET_ACCESS_KEY date +%Z",
        "cat <<< $AWS_SECRET_ACCESS_KEY",
        "{ cat; } <<< \"a $AWS_SECRET_ACCESS_KEY\"",
        "read x <<< $AWS_SECRET_ACCESS_KEY; echo $x",
        "cat <<EOF\na $AWS_SECRET_ACCESS_KEY\nEOF",
        "cat <<A <<EOF | head\na\nA\n${AWS_SECRET_ACCESS_KEY}\nEOF",
        "while read -r x; do echo $x; done <<EOF\n$AWS_SECRET_ACCESS_KEY\nEOF",
        "(cat <<EOF\n$AWS_SECRET_ACCESS_KEY\nEOF\n)",
        "for x in a $AWS_SECRET_ACCESS_KEY; do echo $x; done",
        "sh -c 'echo $1' x $AWS_SECRET_ACCESS_KEY",
        "bash -c 'echo $0' $AWS_SECRET_ACCESS_KEY",
        "echo $http_proxy $npm_config__auth",
        "printf \"$x\"",
        "test -v 'a[$(rm b)]'",
        "[ -v 'a[$(rm b)]' ]",
        "cd; ls",
        "cd -",
        "read PATH; ls",
        "read -p x line",
        "cd $x && ls",
        "while true; do cat ../a.txt; cd src; done",
    ] {
        table.row(effect(&scene.line(&[], line)), "look", line.to_string());
    }
}

#[test]
fn what_writes_runs_code_or_tells_others_is_asked() {
    let (scene, mut table) = (Scene::new(), Table::default());
    for line in [
        "rm -rf b",
        "cargo check",
        "npm test",
        "make",
        "./a.txt",
        "python x.py",
        "python3 -c 'print(1)'",
        "curl http://x",
        "touch a",
        "env",
        "printenv",
        "awk '{print}' a.txt",
        "sed -i s/a/b/ a.txt",
        "sort -o out a.txt",
        "sort --compress-program=x a.txt",
        "uniq a.txt out",
        "tree -o out",
        "date -s 2020-01-01",
        "find . -delete",
        "find . -fprint out",
        "find . -name x -exec rm {} ;",
        "find . -name x -exec rm {} \\;",
        "find . -execdir sh -c 'rm {}' \\;",
        "rg --pre ./x a",
        "rg --pre=./x a",
        "git push",
        "git commit -m x",
        "git -c core.pager=x status",
        "git -c core.fsmonitor=x status",
        "git -C src status",
        "git --git-dir=bare status",
        "git --exec-path=. status",
        "git diff --output=x",
        "git log --ext-diff -p",
        "git grep -Ox a",
        "git grep --open-files-in-pager=x a",
        "git branch new",
        "git branch -D main",
        "git tag v1",
        "git remote add x y",
        "git stash",
        "git reflog expire --all",
        "git config alias.x '!rm'",
        "git $x",
        "xargs rm",
        "ls | xargs -I{} sh -c 'rm {}'",
        "ls | xargs -P 4 -n 1 rm",
        "sudo ls",
        "sudo -u x ls",
        "doas ls",
        "eval ls",
        "eval 'rm b'",
        ". ./a.txt",
        "source a.txt",
        "exec ls",
        "exec > out",
        "trap 'rm b' EXIT",
        "alias ls=rm",
        "sh a.txt",
        "sh",
        "curl http://x | sh",
        "bash -c \"$x\"",
        "bash -i -c ls",
        "sh -c 'rm b'",
        "sh -c \"sh -c 'rm b'\"",
        "zsh -c ls",
        "nohup rm b",
        "nice rm b",
        "timeout 5 rm b",
        "timeout $x ls",
        "timeout -s KILL 5 rm b",
        "env X=1 rm b",
        "env -S 'rm b'",
        "env X=$x ls",
        "command rm b",
        "builtin eval ls",
        "time rm b",
        "time -o out ls",
        "X=1 ls",
        "PATH=. ls",
        "LD_PRELOAD=./x.so ls",
        "PATH=.; ls",
        "export PATH=.; ls",
        "GIT_PAGER=./x git log",
        "http_proxy=x",
        "for PATH in .; do ls; done",
        "$x",
        "$x foo",
        "\"$x\" foo",
        "`which rm` b",
        "$(echo rm) b",
        "l\\s; r\"\"m b",
        "{rm,b}",
        "r* b",
        "~/x",
        "/bin/ls",
        "./ls",
        "case $AWS_SECRET_ACCESS_KEY in a*) echo a ;; esac",
        "case a in $AWS_SECRET_ACCESS_KEY) echo a ;; b|$KEY) ls ;; esac",
        "printf -v PATH x",
        "echo $((x))",
        "echo $((a[$(rm b)]))",
        "echo ${x:=y}",
        "echo ${!x}",
        "echo ${x@P}",
        "echo ${a[$(rm b)]}",
        "echo $[1+1]",
        "echo $'a'",
        "[[ -f a ]]",
        "((1))",
        "a[0]=1",
        "a=(1 2)",
        "function f { ls; }",
        "coproc ls",
        "let x=1",
        "f() { rm b; }",
        "ls() { rm b; }; ls",
        "kill 1",
        "tee out",
    ] {
        table.row(effect(&scene.line(&[], line)), "ask", line.to_string());
    }
}

#[test]
fn files_elsewhere_and_keys_are_asked_in_commands_too() {
    let (scene, mut table) = (Scene::new(), Table::default());
    let key = scene.home.join(".ssh/id_rsa");
    for line in [
        "cat ../other/file",
        "cat ~/.ssh/id_rsa",
        "cat .env",
        "cat ./src/../.env",
        "cat < .env",
        "cat < ../other/file",
        "cat out/file",
        "cat src/link.rs",
        "ls ~",
        "cd src && cat ../../other/file",
        // It may have failed, so it is judged from both.
        "cd ~ && ls",
        "grep -r key ~",
        "grep key .env",
        "grep -e x ../other/file",
        "rg key ../other",
        "rg key .env",
        "find ~ -name x",
        "diff a.txt ../other/file",
        "sed -n 1p ../other/file",
        "git diff a.txt ../other/file",
        "git show HEAD:.env",
        "diff <(cat .env) a.txt",
        "echo $(cat .env)",
        "echo `cat .env`",
        "echo \"${x:-$(cat .env)}\"",
        "cat <<EOF\n$(cat .env)\nEOF",
        "sh -c 'cat .env'",
        "env LANG=C cat .env",
        "echo x > a.txt",
        "echo x >> a.txt",
        "echo x >| a.txt",
        "echo x &> a.txt",
        "echo x >& a.txt",
        "ls 2> errors",
        "ls <> a.txt",
        "> a.txt",
        "{ ls; } > a.txt",
        "for x in 1; do echo $x; done > a.txt",
        "cat <<EOF > a.txt\ntext\nEOF",
        "echo x > $x",
        "echo x > /dev/tcp/127.0.0.1/80",
        "echo x > ~/x",
    ] {
        table.row(effect(&scene.line(&[], line)), "ask", line.to_string());
    }
    assert_eq!(effect(&scene.line(&[], &format!("cat {}", key.display()))), "ask");
    // Where it runs counts as well.
    for (line, cwd, expected) in [
        ("ls", "src", "look"),
        ("cat ../a.txt", "src", "look"),
        ("cat ../../other/file", "src", "ask"),
        ("ls", "../other", "ask"),
        ("ls", "out", "ask"),
        ("git status", "src", "look"),
        ("git status", "bare", "look"),
    ] {
        table.row(effect(&scene.line_in(&[], line, cwd)), expected, format!("{line} in {cwd}"));
    }
    assert_eq!(effect(&scene.line(&[], "cd bare && git status")), "look");
    assert_eq!(effect(&scene.line(&["allow bash git status"], "cd bare && git status")), "ask");
}

#[test]
fn files_are_judged_by_where_they_lead() {
    let scene = Scene::new();
    let check = |tool, write: bool, path: &str, expected: &str| {
        let path = scene.workspace.join(path);
        let access = if write { Access::Write(path.clone()) } else { Access::Read(path.clone()) };
        let said = said(&scene.judge(&[], tool, vec![access]));
        let said = said.replace(scene.home.to_str().expect("it is text"), "HOME");
        assert_eq!(said, expected, "{tool} {}", path.display());
    };
    check("read_file", false, "a.txt", "allow");
    check("read_file", false, "missing/file", "allow");
    check("grep", false, "", "allow");
    check("read_file", false, ".env", "ask");
    check("read_file", false, "../other/file", "ask + allow read HOME/other");
    check("read_file", false, "out/file", "ask + allow read HOME/other");
    check("read_file", false, "src/link.rs", "ask + allow read HOME/other");
    check("glob", false, "../other", "ask + allow read HOME/other");
    check("read_file", false, "../file", "ask + allow read HOME/file");
    check("glob", false, "..", "ask + allow read HOME");
    check("read_file", false, "../.ssh/id_rsa", "ask");
    check("read_file", false, "/etc/hosts", "ask + allow read /etc");
    check("glob", false, "/", "ask");
    check("write_file", true, "a.txt", "ask + allow write .");
    check("write_file", true, "new/deep/file", "ask + allow write .");
    check("edit_file", true, "../other/file", "ask + allow write HOME/other/file");
    check("edit_file", true, "out/new", "ask + allow write HOME/other/new");
    check("write_file", true, ".env", "ask");
    check("write_file", true, ".git/config", "ask");
    check("write_file", true, "src/../.GIT/hooks/x", "ask");
}

#[test]
fn always_offers_what_is_like_it_and_no_more() {
    let (scene, mut table) = (Scene::new(), Table::default());
    for (line, expected) in [
        ("npm test", "ask + allow bash npm test"),
        ("npm test -- --watch", "ask + allow bash npm test"),
        ("npm run build", "ask + allow bash npm run build"),
        ("npm run", "ask"),
        ("npm", "ask"),
        ("npm exec x", "ask"),
        ("npx x", "ask"),
        ("cargo build --release", "ask + allow bash cargo build"),
        ("cargo run --bin x", "ask + allow bash cargo run"),
        ("cargo +nightly test", "ask"),
        ("cargo install x", "ask"),
        ("make", "ask + allow bash make"),
        ("make test", "ask + allow bash make test"),
        ("make -f x", "ask"),
        ("pytest -x tests", "ask + allow bash pytest"),
        ("./build.sh --fast", "ask + allow bash ./build.sh"),
        ("'./my build' x", "ask"),
        ("python3 -m pytest -x", "ask"),
        ("python3 setup.py build", "ask"),
        ("python3 -c x", "ask"),
        ("python3", "ask"),
        ("node server.js", "ask"),
        ("git commit -m x", "ask + allow bash git commit"),
        ("git push", "ask"),
        ("git -C x status", "ask"),
        ("git", "ask"),
        ("sh x.sh", "ask"),
        ("sudo npm test", "ask"),
        ("rm a", "ask"),
        ("/bin/rm a", "ask"),
        ("curl x", "ask"),
        ("docker ps", "ask"),
        ("docker run x", "ask"),
        ("docker compose up", "ask"),
        // What follows may be any code.
        ("docker compose exec a sh", "ask"),
        ("docker compose run a sh", "ask"),
        ("docker-compose exec a sh", "ask"),
        ("docker container exec a sh", "ask"),
        ("deno eval x", "ask"),
        ("deno run x.ts", "ask"),
        ("deno test", "ask"),
        ("bun exec x", "ask"),
        ("bun x y", "ask"),
        ("bun test", "ask"),
        ("bun run build", "ask"),
        ("rails runner x", "ask"),
        ("bin/rails r x", "ask"),
        ("rails test", "ask"),
        ("mix eval x", "ask"),
        ("mix test", "ask + allow bash mix test"),
        ("uv run python -c x", "ask"),
        ("uv run sh x", "ask"),
        ("uv run timeout 5 x", "ask"),
        ("uv run python -m pytest -x", "ask"),
        ("uv run pytest -x", "ask"),
        ("poetry run python x.py y", "ask"),
        ("go run x@latest", "ask"),
        ("go run example.com/x@latest", "ask"),
        ("go run -exec x .", "ask"),
        ("go run . x", "ask"),
        ("go run ./cmd/x -y", "ask"),
        ("go run ../x", "ask"),
        ("go run main.go", "ask"),
        ("rustup run stable sh", "ask"),
        ("yarn node -e x", "ask"),
        ("pnpm node -e x", "ask"),
        ("npm init x", "ask"),
        ("yarn run node -e x", "ask"),
        ("bun run node -e x", "ask"),
        ("yarn run build", "ask + allow bash yarn run build"),
        ("pipenv run python -c x", "ask"),
        ("hatch run pytest -x", "ask"),
        ("conda run -n x python -c y", "ask"),
        ("nix run x", "ask"),
        ("nix build", "ask"),
        ("mise exec -- x", "ask"),
        ("stack exec x", "ask"),
        ("aws s3 ls x", "ask"),
        ("aws s3", "ask"),
        ("java -jar x.jar", "ask"),
        ("psql -c x", "ask"),
        ("concurrently 'npm test'", "ask"),
        ("direnv exec . npm test", "ask"),
        ("python3.12 -c x", "ask"),
        ("python3.12 x.py", "ask"),
        ("python3 -m timeit x", "ask"),
        ("perl -m x", "ask"),
        ("meanwhile spawn -- npm test", "ask"),
        ("meanwhile agent", "ask"),
        ("meanwhile ps", "look"),
        ("meanwhile logs x", "look"),
        ("flock a npm test", "ask"),
        ("taskset 1 npm test", "ask"),
        ("unbuffer npm test", "ask"),
        ("systemd-run --user npm test", "ask"),
        ("hyperfine 'npm test'", "ask"),
        ("timeout 60 cargo test", "ask + allow bash cargo test"),
        ("nohup npm start &", "ask + allow bash npm start"),
        ("sh -c 'npm test'", "ask + allow bash npm test"),
        ("cd src && npm test | tail -5", "ask + allow bash npm test"),
        ("npm test && cargo build", "ask + allow bash npm test + allow bash cargo build"),
        ("npm test && npm test", "ask + allow bash npm test"),
        ("npm test && rm a", "ask"),
        ("npm test > out.txt", "ask + allow write . + allow bash npm test"),
        ("X=1 npm test", "ask"),
        ("npm test $(cat .env)", "ask"),
        ("npm $x", "ask"),
        ("cat $x", "look"),
        ("echo $SECRET", "look"),
        ("printf -v PATH x", "ask"),
        ("git diff --output=x", "ask"),
        ("find . -delete", "ask"),
        ("sort -o x a.txt", "ask"),
        ("export X=1", "ask"),
    ] {
        table.row(said(&scene.line(&[], line)), expected, line.to_string());
    }
}

/// What "always" offers is enough: with it, the same call is not asked again.
#[test]
fn what_always_offers_is_enough() {
    let scene = Scene::new();
    for line in [
        "npm test -- --watch",
        "./build x",
        "timeout 60 cargo test",
        "npm test > out.txt",
        "npm test && cargo build 2>&1 | tail -3",
        "cat ../other/file",
        "echo x > ../other/file",
        "for i in 1 2; do npm test; done",
    ] {
        let Verdict::Ask { always, .. } = scene.line(&[], line) else { panic!("{line}") };
        let texts: Vec<String> = always.iter().map(Rule::to_string).collect();
        let rules: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert!(matches!(scene.line(&rules, line), Verdict::Allow(_)), "{line} with {rules:?}");
    }
}
