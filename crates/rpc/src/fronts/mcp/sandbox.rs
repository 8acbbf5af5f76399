//! The sandbox of a host's session, which its tasks must keep.
//!
//! Codex sends the restrictions of its own commands in the `_meta` of each call (`codex/sandbox-state-meta`), because
//! the server declares this capability. Restrictions that are not understood lead to a refusal: a task must never be
//! allowed more than the session that started it.

use std::path::{Path, PathBuf};

use meanwhile_core::confine::{Confine, Mode, led_to};
use percent_encoding::percent_decode_str;
use rmcp::model::JsonObject;
use serde_json::Value;

/// The name of the capability, and of the member of `_meta`.
pub(super) const STATE: &str = "codex/sandbox-state-meta";

/// The restrictions for a session's tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sandbox {
    /// The host reports no sandbox: tasks may do what the user may.
    None,
    /// Tasks are confined like this.
    Held(Confine),
}

/// The directory that the sandbox refers to.
pub(super) fn directory(meta: &JsonObject) -> Option<PathBuf> {
    let named = meta.get(STATE)?.get("sandboxCwd")?.as_str()?;
    let path = match named.strip_prefix("file://") {
        Some(path) => PathBuf::from(percent_decode_str(path).decode_utf8().ok()?.into_owned()),
        None => PathBuf::from(named),
    };
    path.is_absolute().then_some(path)
}

/// The sandbox of a request.
///
/// # Errors
///
/// The reason why a task cannot keep it.
pub(super) fn of(meta: Option<&JsonObject>, workspace: &Path) -> Result<Sandbox, String> {
    let Some(meta) = meta else { return Ok(Sandbox::None) };
    match meta.get(STATE) {
        Some(state) => {
            // The newer form has more detail, and takes precedence if both are present.
            let (profile, policy) = (state.get("permissionProfile"), state.get("sandboxPolicy"));
            match (profile.filter(|it| !it.is_null()), policy.filter(|it| !it.is_null())) {
                (Some(profile), _) => of_profile(profile, workspace),
                (None, Some(policy)) => of_policy(policy, workspace),
                (None, None) => Err(unknown("it names neither a profile nor a policy")),
            }
        }
        None if meta.contains_key("threadId") => {
            Err(unknown("this version of Codex does not report it to MCP servers"))
        }
        None => Ok(Sandbox::None),
    }
}

fn unknown(why: &str) -> String {
    format!(
        "the sandbox of this session is not known: {why}; a task would have to run outside of it, so \
         none is started. Run the command with your own shell tool"
    )
}

fn held(mode: Mode, network: bool, hidden: Vec<PathBuf>, sealed: Vec<PathBuf>) -> Sandbox {
    // Only `work` may use the network and write.
    let (network, mut sealed) = match mode {
        Mode::Work => (network, sealed),
        Mode::Look | Mode::Open => (false, Vec::new()),
    };
    sealed.sort_unstable();
    sealed.dedup();
    Sandbox::Held(Confine { hidden, network, sealed, ..Confine::from(mode) })
}

/// What Codex protects from writing in each writable directory, whether it reports it or not, with symbolic links
/// resolved; and the repository that a file `.git` refers to.
fn kept(workspace: &Path) -> Vec<PathBuf> {
    let named = [".git", ".codex", ".agents"].map(|name| workspace.join(name)).into_iter();
    let targets = named.map(|path| path.canonicalize().unwrap_or(path));
    targets.chain(led_to(workspace)).filter(|it| it.starts_with(workspace)).collect()
}

/// Parses Codex' `SandboxPolicy`.
fn of_policy(policy: &Value, workspace: &Path) -> Result<Sandbox, String> {
    let kind = policy.get("type").and_then(Value::as_str).or_else(|| policy.as_str());
    let flag = |name: &str| policy.get(name).and_then(Value::as_bool).unwrap_or_default();
    match kind {
        Some("danger-full-access") => Ok(Sandbox::None),
        Some("read-only") => Ok(held(Mode::Look, false, Vec::new(), Vec::new())),
        Some("workspace-write") => {
            let network = flag("network_access") || flag("networkAccess");
            Ok(held(Mode::Work, network, Vec::new(), kept(workspace)))
        }
        Some(other) => Err(unknown(&format!("its policy is `{other}`"))),
        None => Err(unknown("its policy has no type")),
    }
}

/// Parses Codex' `PermissionProfile`.
fn of_profile(profile: &Value, workspace: &Path) -> Result<Sandbox, String> {
    match profile.get("type").and_then(Value::as_str) {
        Some("disabled") => return Ok(Sandbox::None),
        Some("managed") => {}
        Some(other) => return Err(unknown(&format!("its profile is `{other}`"))),
        None => return Err(unknown("its profile has no type")),
    }
    let network = profile.get("network");
    let network = network.and_then(Value::as_str) == Some("enabled")
        || network.and_then(|it| it.get("enabled")).and_then(Value::as_bool) == Some(true);
    let files = profile.get("file_system").or_else(|| profile.get("fileSystem"));
    let kind = files.and_then(|files| files.get("type")).and_then(Value::as_str);
    let entries = files.and_then(|files| files.get("entries")).and_then(Value::as_array);
    match (kind, entries) {
        (Some("unrestricted"), _) if network => Ok(Sandbox::None),
        (Some("unrestricted"), _) => Ok(held(Mode::Work, false, Vec::new(), Vec::new())),
        (Some("restricted"), Some(entries)) => {
            let (mut hidden, mut sealed) = (Vec::new(), kept(workspace));
            // The depth of the deepest entry that contains the workspace: it takes precedence.
            let (mut read, mut written) = (None, None);
            let depth = |it: &PathBuf| workspace.starts_with(it).then(|| it.components().count());
            for entry in entries {
                let path = path_of(entry);
                match entry.get("access").and_then(Value::as_str) {
                    Some("read") => {
                        read = read.max(path.as_ref().and_then(depth));
                        sealed
                            .extend(path.filter(|it| it != workspace && it.starts_with(workspace)));
                    }
                    // `work` allows writing to the whole workspace, so a smaller directory is not sufficient.
                    Some("write") => written = written.max(path.as_ref().and_then(depth)),
                    Some("none" | "deny") => hidden.push(denied(entry)?),
                    Some(_) | None => {
                        return Err(unknown("an entry of its profile is not understood"));
                    }
                }
            }
            let mode = if written > read { Mode::Work } else { Mode::Look };
            Ok(held(mode, network, hidden, sealed))
        }
        (Some(_) | None, _) => Err(unknown("its profile does not say what it may access")),
    }
}

/// The path of an entry, with symbolic links resolved; `None` if it has none.
fn path_of(entry: &Value) -> Option<PathBuf> {
    let path = entry.get("path").filter(|path| path.get("type") == Some(&"path".into()))?;
    let path = Path::new(path.get("path")?.as_str()?);
    Some(path.canonicalize().unwrap_or_else(|_| path.to_owned()))
}

/// The path that an entry forbids to read.
fn denied(entry: &Value) -> Result<PathBuf, String> {
    path_of(entry).ok_or_else(|| unknown("it forbids files by a pattern"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(meta: Value) -> Result<Sandbox, String> {
        of(meta.as_object(), Path::new("/w"))
    }

    fn state(state: Value) -> Result<Sandbox, String> {
        read(json!({"threadId": "t", STATE: state}))
    }

    fn profile(entries: Value, network: &str) -> Result<Sandbox, String> {
        let files = json!({"type": "restricted", "entries": entries});
        state(
            json!({"permissionProfile": {"type": "managed", "network": network, "file_system": files}}),
        )
    }

    #[test]
    fn a_policy_is_kept() {
        let check = |policy: Value, expect: Sandbox| {
            assert_eq!(state(json!({"sandboxPolicy": policy})), Ok(expect), "{policy}");
        };
        check(json!({"type": "danger-full-access"}), Sandbox::None);
        check(json!({"type": "read-only"}), held(Mode::Look, false, Vec::new(), Vec::new()));
        check(json!("read-only"), held(Mode::Look, false, Vec::new(), Vec::new()));
        check(
            json!({"type": "workspace-write"}),
            held(Mode::Work, false, Vec::new(), kept(Path::new("/w"))),
        );
        check(
            json!({"type": "workspace-write", "network_access": true}),
            held(Mode::Work, true, Vec::new(), kept(Path::new("/w"))),
        );
    }

    #[test]
    fn a_profile_is_kept() {
        let root =
            json!({"access": "read", "path": {"type": "special", "value": {"kind": "root"}}});
        let write = json!({"access": "write", "path": {"type": "path", "path": "/w"}});
        let none = json!({"access": "none", "path": {"type": "path", "path": "/w/secret"}});
        let part = json!({"access": "read", "path": {"type": "path", "path": "/w/part"}});
        let around = json!({"access": "read", "path": {"type": "path", "path": "/"}});
        let sealed = ["/w/.agents", "/w/.codex", "/w/.git"].map(PathBuf::from);
        let look = held(Mode::Look, false, Vec::new(), Vec::new());
        assert_eq!(profile(json!([root]), "enabled"), Ok(look.clone()));
        let work = held(Mode::Work, true, Vec::new(), sealed.to_vec());
        assert_eq!(profile(json!([root, write]), "enabled"), Ok(work));
        let hides = held(Mode::Work, false, vec!["/w/secret".into()], sealed.to_vec());
        assert_eq!(profile(json!([root, write, none]), "restricted"), Ok(hides));
        let own = json!({"access": "read", "path": {"type": "path", "path": "/w"}});
        assert_eq!(profile(json!([write, own]), "enabled"), Ok(look.clone()));
        let more = [&sealed[..], &["/w/part".into()]].concat();
        let seals = held(Mode::Work, false, Vec::new(), more);
        assert_eq!(profile(json!([root, write, part, around]), "restricted"), Ok(seals));
        let off =
            json!({"permissionProfile": {"type": "disabled"}, "sandboxPolicy": {"type": "x"}});
        assert_eq!(state(off), Ok(Sandbox::None));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let glob =
            json!({"access": "none", "path": {"type": "glob_pattern", "pattern": "**/*.pem"}});
        for refused in [
            read(json!({"threadId": "t"})),
            state(json!({})),
            state(json!({"sandboxPolicy": null})),
            state(json!({"sandboxPolicy": {"type": "external-sandbox"}})),
            state(json!({"sandboxPolicy": {}})),
            state(json!({"permissionProfile": {"type": "external"}})),
            state(json!({"permissionProfile": {"type": "managed"}})),
            profile(json!([glob]), "enabled"),
            profile(json!([{"access": "append"}]), "enabled"),
        ] {
            assert!(refused.clone().unwrap_err().contains("is not known"), "{refused:?}");
        }
    }

    #[test]
    fn a_host_without_a_sandbox_has_none() {
        assert_eq!(of(None, Path::new("/w")), Ok(Sandbox::None));
        assert_eq!(read(json!({"progressToken": 1})), Ok(Sandbox::None));
    }

    #[test]
    fn the_directory_is_a_path_or_a_uri() {
        let check = |named: Value, expect: Option<&str>| {
            let meta = json!({STATE: {"sandboxCwd": named}});
            let found = directory(meta.as_object().unwrap());
            assert_eq!(found, expect.map(PathBuf::from), "{named}");
        };
        check(json!("/w/a b"), Some("/w/a b"));
        check(json!("file:///w/a%20b"), Some("/w/a b"));
        check(json!("w"), None);
        check(json!("file://host/w"), None);
        check(json!(5), None);
    }
}
