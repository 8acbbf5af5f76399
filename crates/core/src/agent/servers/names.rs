//! The names of a server's tools for a model: `mcp__SERVER__TOOL`, in the characters that model servers accept.

use crate::agent::tools::ToolName;

/// The maximum length of a tool's name that model servers accept.
const NAME_BYTES: usize = 64;
/// The maximum length of the server's part.
const LABEL_BYTES: usize = 24;

/// The server's part of a name. It depends on nothing but the server's name, because stored rules contain it. The
/// label of a label is the label itself.
pub(in crate::agent) fn label(name: &str) -> String {
    let mut label = plain(name);
    // `__` separates the server from the tool.
    while let Some(at) = label.find("__") {
        label.remove(at);
    }
    marked(label.trim_matches('_'), name, LABEL_BYTES, "server")
}

/// The name of a tool on the server with this label.
pub(in crate::agent) fn tool(server: &str, name: &str) -> ToolName {
    let named = |name: String| ToolName::External { server: server.to_owned(), name };
    let room = NAME_BYTES - named(String::new()).to_string().len();
    named(marked(&plain(name), name, room, "tool"))
}

/// The name in plain characters; if that changes or shortens it, a checksum of the original keeps it unique.
fn marked(plain: &str, name: &str, most: usize, empty: &str) -> String {
    if plain == name && !name.is_empty() && name.len() <= most {
        return name.to_owned();
    }
    let mark = format!("_{:08x}", crc32fast::hash(name.as_bytes()));
    let plain = &plain[..plain.len().min(most - mark.len())];
    let plain = match plain.trim_end_matches('_') {
        "" => empty,
        plain => plain,
    };
    format!("{plain}{mark}")
}

fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    name.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_those_of_the_server_in_plain_letters() {
        for same in ["github", "a_b", "my-server"] {
            assert_eq!(label(same), same);
        }
        let like = |name: &str, begin: &str| {
            let label = label(name);
            assert!(label.starts_with(begin) && label.len() == begin.len() + 9, "{label}");
        };
        like("my server", "my_server");
        like("a__b", "a_b");
        like("…", "server");
        like("", "server");
        like("corp-database-connection-staging", "corp-database-c");
        like("customer-data_.eu", "customer-data_e");
        let tool = |name: &str| tool("files", name).to_string();
        assert_eq!(tool("read"), "mcp__files__read");
        assert_eq!(tool("a_b"), "mcp__files__a_b");
        assert_ne!(tool("a.b"), tool("a_b"));
        assert_ne!(tool(&("x".repeat(80) + "1")), tool(&("x".repeat(80) + "2")));
    }

    proptest! {
        #[test]
        fn a_name_is_read_back_and_tells_its_server_and_its_tool(
            stem in "[a-z_. -]{0,30}", ends in prop::collection::hash_set(".{0,12}", 2),
            name in ".{0,90}",
        ) {
            let servers: Vec<String> = ends.iter().map(|end| format!("{stem}{end}")).collect();
            let labels: Vec<String> = servers.iter().map(|server| label(server)).collect();
            prop_assert_ne!(&labels[0], &labels[1]);
            for label in &labels {
                prop_assert_eq!(&super::label(label), label);
                let named = tool(label, &name);
                let text = named.to_string();
                prop_assert!(text.len() <= NAME_BYTES, "{text}");
                let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
                prop_assert!(text.chars().all(fits), "{}", text);
                prop_assert_eq!(ToolName::parse(&text), Some(named.clone()));
                let ToolName::External { server, name } = named else { unreachable!() };
                prop_assert_eq!(&server, label);
                let again = tool(label, &name).to_string();
                prop_assert_eq!(again, text);
            }
        }
    }
}
