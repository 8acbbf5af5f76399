//! Determines the workspace of a connection.
//!
//! Folders are URIs. Clients do not always encode them, so characters that a strict parser would refuse (a space, a
//! non-ASCII letter) are encoded before the handshake is parsed.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};
use tower_lsp::ls_types::InitializeParams;

use crate::convert::error::invalid;
use crate::wire::Error;

type Result<T> = std::result::Result<T, Error>;

/// Characters that must be encoded in a URI (RFC 3986, section 2).
const UNSAFE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Rewrites the parameters of `initialize` so that LSP's types can parse them, without changing their meaning:
/// capabilities are reduced to those that are used, because their types may be older than the client; URIs are
/// encoded.
pub(crate) fn normalize(params: &mut Value) {
    let Some(members) = params.as_object_mut() else { return };
    let progress = members
        .get("capabilities")
        .and_then(|capabilities| capabilities.pointer("/window/workDoneProgress"))
        .and_then(Value::as_bool)
        .unwrap_or(false);
    members.insert("capabilities".to_owned(), json!({"window": {"workDoneProgress": progress}}));
    members.remove("trace");
    members.remove("locale");
    if let Some(uri) = members.get_mut("rootUri") {
        encode(uri);
    }
    if let Some(Value::Array(folders)) = members.get_mut("workspaceFolders") {
        for folder in folders {
            if let Some(members) = folder.as_object_mut() {
                members.entry("name").or_insert_with(|| "".into());
                if let Some(uri) = members.get_mut("uri") {
                    encode(uri);
                }
            }
        }
    }
}

/// The workspace: the first folder, or else the root, or else the current directory.
///
/// # Errors
///
/// The URI is not a `file:` URI, or does not name a directory.
pub(crate) fn of(params: &InitializeParams) -> Result<PathBuf> {
    let folder = params.workspace_folders.iter().flatten().next();
    #[expect(deprecated, reason = "clients still send the older fields, and no folders")]
    let (root_uri, root_path) = (&params.root_uri, &params.root_path);
    let path = match (folder, root_uri, root_path) {
        (Some(folder), _, _) => from_uri("workspaceFolders[0].uri", folder.uri.as_str())?,
        (None, Some(uri), _) => from_uri("rootUri", uri.as_str())?,
        (None, None, Some(path)) if !path.is_empty() => absolute("rootPath", PathBuf::from(path))?,
        (None, None, Some(_) | None) => std::env::current_dir()
            .map_err(|error| invalid("rootUri", format!("missing, and no directory: {error}")))?,
    };
    // A directory that does not exist yet is kept: a spawn there reports it.
    Ok(std::fs::canonicalize(&path).unwrap_or(path))
}

fn from_uri(field: &str, uri: &str) -> Result<PathBuf> {
    let refuse = || {
        let message = format!("`{uri}` names no directory here; expected `file:///absolute/path`");
        invalid(field, message)
    };
    let (scheme, rest) = uri.split_once(':').ok_or_else(refuse)?;
    if !scheme.eq_ignore_ascii_case("file") {
        return Err(refuse());
    }
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => {
            let (host, _) = rest.split_at(rest.find('/').ok_or_else(refuse)?);
            if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
                return Err(refuse());
            }
            &rest[host.len()..]
        }
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let bytes: Vec<u8> = percent_decode_str(path).collect();
    absolute(field, PathBuf::from(OsString::from_vec(bytes)))
}

fn absolute(field: &str, path: PathBuf) -> Result<PathBuf> {
    if !Path::is_absolute(&path) || path.as_os_str().as_encoded_bytes().contains(&0) {
        let shown = path.display();
        return Err(invalid(field, format!("`{shown}` is not an absolute path; expected one")));
    }
    Ok(path)
}

/// Encodes characters that a URI cannot contain; existing escapes are kept.
fn encode(value: &mut Value) {
    if let Value::String(uri) = value {
        *uri = utf8_percent_encode(uri, UNSAFE).to_string();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(params: Value, expect: std::result::Result<&str, &str>) {
        let mut normal = params.clone();
        normalize(&mut normal);
        let read: InitializeParams = serde_json::from_value(normal).expect("it is normal");
        let got = of(&read);
        let got = match &got {
            Ok(path) => Ok(path.to_str().unwrap()),
            Err(error) => Err(error.data.as_ref().unwrap()["field"].as_str().unwrap()),
        };
        assert_eq!(got, expect, "{params}");
    }

    #[test]
    fn folders_come_first_then_the_root() {
        let root = json!("file:///no/root");
        check(json!({"rootUri": root}), Ok("/no/root"));
        check(json!({"rootUri": null, "rootPath": "/no/path"}), Ok("/no/path"));
        check(json!({"rootUri": root, "workspaceFolders": []}), Ok("/no/root"));
        check(json!({"rootUri": root, "workspaceFolders": null}), Ok("/no/root"));
        let folders = json!([{"uri": "file:///no/a", "name": "a"}, {"uri": "file:///no/b"}]);
        check(json!({"rootUri": root, "workspaceFolders": folders}), Ok("/no/a"));
        let here = std::env::current_dir().unwrap();
        check(json!({}), Ok(here.to_str().unwrap()));
    }

    #[test]
    fn uris_are_decoded() {
        check(json!({"rootUri": "file:///no/a%20b%C3%A9"}), Ok("/no/a bé"));
        check(json!({"rootUri": "file:///no/a bé"}), Ok("/no/a bé"));
        check(json!({"rootUri": "file://localhost/no"}), Ok("/no"));
        check(json!({"rootUri": "FILE:/no"}), Ok("/no"));
        check(json!({"rootUri": "file:///no/a%2Fb/"}), Ok("/no/a/b/"));
    }

    #[test]
    fn what_is_not_a_directory_here_is_refused() {
        check(json!({"rootUri": "https://example.org/x"}), Err("rootUri"));
        check(json!({"rootUri": "file://elsewhere/x"}), Err("rootUri"));
        check(json!({"rootUri": "file:///a%00b"}), Err("rootUri"));
        check(json!({"rootPath": "relative"}), Err("rootPath"));
        let folders = json!([{"uri": "untitled:x", "name": ""}]);
        check(json!({"workspaceFolders": folders}), Err("workspaceFolders[0].uri"));
    }

    #[test]
    fn capabilities_are_cut_to_what_matters() {
        for (given, expect) in [
            (json!({}), false),
            (json!({"capabilities": {"window": {"workDoneProgress": true}}}), true),
            (json!({"capabilities": {"window": {"workDoneProgress": "yes"}}}), false),
            (json!({"capabilities": 5, "trace": "loud", "locale": 3}), false),
        ] {
            let mut normal = given.clone();
            normalize(&mut normal);
            let read: InitializeParams = serde_json::from_value(normal).expect("it is normal");
            let shows = read.capabilities.window.unwrap().work_done_progress;
            assert_eq!(shows, Some(expect), "{given}");
        }
    }
}
