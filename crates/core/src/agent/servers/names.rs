//! What a server's tools are called for a model: `mcp__SERVER__TOOL`, in the letters that models' servers take.

use std::collections::HashSet;

use crate::agent::tools::ToolName;

/// Bytes of a name that a model's server takes.
const NAME_BYTES: usize = 64;
/// Bytes of a server's part of it.
const LABEL_BYTES: usize = 24;

/// The names that were given.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// What a server is called, as none before it.
    pub(super) fn label(&mut self, name: &str) -> String {
        let mut label = plain(name, LABEL_BYTES);
        // The first two in a row end it.
        while let Some(at) = label.find("__") {
            label.remove(at);
        }
        let label = label.trim_matches('_');
        let label = if label.is_empty() { "server" } else { label };
        self.unlike(label, LABEL_BYTES)
    }

    /// What a tool of a server is called.
    pub(super) fn tool(&mut self, server: &str, name: &str) -> ToolName {
        let named = |name: String| ToolName::External { server: server.to_owned(), name };
        let room = NAME_BYTES - named(String::new()).to_string().len();
        let name = match plain(name, usize::MAX) {
            empty if empty.is_empty() => "tool".to_owned(),
            // What is cut off must tell two tools apart still.
            long if long.len() > room => {
                let mark = format!("_{:08x}", crc32fast::hash(name.as_bytes()));
                format!("{}{mark}", &long[..room - mark.len()])
            }
            name => name,
        };
        let unlike = self.unlike(&named(name).to_string(), NAME_BYTES);
        ToolName::parse(&unlike).expect("it is made of a server's name and a tool's")
    }

    fn unlike(&mut self, wanted: &str, most: usize) -> String {
        let mut name = wanted.to_owned();
        let mut next = 2;
        while !self.0.insert(name.clone()) {
            let mark = format!("_{next}");
            name = format!("{}{mark}", &wanted[..wanted.len().min(most - mark.len())]);
            next += 1;
        }
        name
    }
}

fn plain(name: &str, most: usize) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    name.chars().map(plain).take(most).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_those_of_the_server_in_plain_letters() {
        let mut names = Names::default();
        for (name, label) in [
            ("github", "github"),
            ("my server", "my_server"),
            ("a__b", "a_b"),
            ("github", "github_2"),
            ("…", "server"),
        ] {
            assert_eq!(names.label(name), label);
        }
        let tool = |names: &mut Names, name: &str| names.tool("files", name).to_string();
        assert_eq!(tool(&mut names, "read"), "mcp__files__read");
        assert_eq!(tool(&mut names, "a/b"), "mcp__files__a_b");
        assert_eq!(tool(&mut names, "a.b"), "mcp__files__a_b_2");
        let (one, two) = ("x".repeat(80) + "1", "x".repeat(80) + "2");
        assert_ne!(tool(&mut names, &one), tool(&mut names, &two));
    }

    proptest! {
        #[test]
        fn every_tool_has_a_name_of_its_own_that_is_read_back(
            tools in prop::collection::vec((".{0,40}", ".{0,90}"), 1..20),
        ) {
            let (mut labels, mut names) = (Names::default(), Names::default());
            let mut seen = HashSet::new();
            for (server, tool) in tools {
                let label = labels.label(&server);
                let named = names.tool(&label, &tool);
                let text = named.to_string();
                prop_assert!(text.len() <= NAME_BYTES, "{text}");
                let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
                prop_assert!(text.chars().all(fits), "{}", text);
                prop_assert_eq!(ToolName::parse(&text), Some(named.clone()));
                let of = matches!(&named, ToolName::External { server, .. } if *server == label);
                prop_assert!(of, "{named:?} is not of {label}");
                prop_assert!(seen.insert(text));
            }
        }
    }
}
