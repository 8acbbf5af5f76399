//! What a session may do without asking, by the person's choice for the whole session.

use super::*;
use crate::agent::tools::Level;

fn judge(scene: &Scene, permissions: Permissions, rules: &[&str], intent: &Intent) -> String {
    let rules = rules.iter().map(|it| it.parse().expect(it)).collect();
    let home = Some(scene.home.clone());
    let rules = Rules { rules, home, ..Rules::default() }.leaving(permissions);
    said(&rules.judge(intent, &scene.workspace))
}

fn command(scene: &Scene, tool: Builtin, line: &str, level: Option<Level>) -> Intent {
    let access = Access::Command { line: line.to_owned(), cwd: scene.workspace.clone(), level };
    Intent::new(tool, String::new(), Kind::Execute, vec![access])
}

#[test]
fn commands_are_held_to_what_was_chosen() {
    use Permissions::{Ask, Look, Work};
    let scene = Scene::new();
    let (work, full) = (Some(Level::Work), Some(Level::Full));
    for (line, level, rules, look, ask, with_work) in [
        ("ls", None, &[][..], "look", "look", "look"),
        ("npm test", None, &[], "look", "ask + allow bash npm test", "work"),
        ("npm test && rm -r x", None, &[], "look", "ask", "work"),
        ("npm test", work, &[], "deny", "ask + allow bash npm test", "work"),
        ("ls", work, &[], "deny", "ask", "work"),
        ("npm test", full, &[], "deny", "ask + allow bash npm test", "ask + allow bash npm test"),
        ("npm test", None, &["allow bash npm test"], "look", "allow", "allow"),
        ("npm test", None, &["ask bash npm"], "ask", "ask", "ask"),
        ("npm test", None, &["deny bash npm"], "deny", "deny", "deny"),
        // The command could create a file that a rule protects.
        ("npm test", None, &["ask write later"], "look", "ask + allow bash npm test", "ask"),
        ("npm test", None, &["deny write later"], "look", "ask + allow bash npm test", "ask"),
    ] {
        for (permissions, expect) in [(Look, look), (Ask, ask), (Work, with_work)] {
            for tool in [Builtin::Bash, Builtin::BackgroundRun] {
                let intent = command(&scene, tool, line, level);
                let got = judge(&scene, permissions, rules, &intent);
                assert_eq!(got, expect, "{line} {level:?} {rules:?} {permissions:?} {tool}");
            }
        }
    }
}

#[test]
fn files_are_held_to_what_was_chosen() {
    use Permissions::{Ask, Look, Work};
    let scene = Scene::new();
    for (path, rules, look, ask, work) in [
        ("work/src/new.rs", &[][..], "deny", "ask + allow write src", "allow"),
        ("work/.env", &[], "deny", "ask", "ask"),
        ("work/.git/config", &[], "deny", "ask", "ask"),
        ("work/out/file", &[], "deny", "ask", "ask"),
        ("work/src/new.rs", &["ask write src"], "deny", "ask", "ask"),
        ("work/src/new.rs", &["allow write src"], "deny", "allow", "allow"),
        ("work/src/new.rs", &["deny write src"], "deny", "deny", "deny"),
    ] {
        let access = vec![Access::Write(scene.home.join(path))];
        let intent = Intent::new(Builtin::WriteFile, String::new(), Kind::Edit, access);
        for (permissions, expect) in [(Look, look), (Ask, ask), (Work, work)] {
            let got = judge(&scene, permissions, rules, &intent);
            let got = if got.starts_with("ask") && expect == "ask" { "ask" } else { &got };
            assert_eq!(got, expect, "{path} {rules:?} {permissions:?}");
        }
    }
}

#[test]
fn a_session_that_looks_steers_no_program() {
    let scene = Scene::new();
    let task = vec![Access::Task(crate::background::task::TaskId::random())];
    for (tool, expect) in [(Builtin::WriteBackground, "deny"), (Builtin::StopBackground, "allow")] {
        let intent = Intent::new(tool, String::new(), Kind::Execute, task.clone());
        assert_eq!(judge(&scene, Permissions::Look, &[], &intent), expect, "{tool}");
        assert_eq!(judge(&scene, Permissions::Work, &[], &intent), "allow", "{tool}");
    }
    let external = ToolName::External { server: "s".to_owned(), name: "t".to_owned() };
    let intent = Intent::new(external, String::new(), Kind::Execute, vec![]);
    assert_eq!(judge(&scene, Permissions::Look, &[], &intent), "deny");
}

#[test]
fn each_has_a_name() {
    for permissions in Permissions::ALL {
        assert_eq!(Permissions::named(permissions.name()), Some(permissions));
    }
    assert_eq!(Permissions::named("all"), None);
}
