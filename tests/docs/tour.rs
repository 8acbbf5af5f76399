//! Runs the README's tour: every command in a `console` block, in order, with one store.
//!
//! Ids, times and sizes differ from run to run, and so do the widths of columns; everything else must be
//! as on the page.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use regex::Regex;

use crate::{Scratch, blocks};

/// The command whose output depends on the moment at which it runs.
const LIST: &str = "meanwhile ps";

/// Compares the text of the page with that of a run.
struct Reader {
    id: Regex,
    varying: Regex,
    /// The id in this run for each id on the page.
    ids: HashMap<String, String>,
}

impl Reader {
    fn new() -> Self {
        Self {
            id: Regex::new(r"\b[0-9a-f]{8}\b").expect("a pattern"),
            varying: Regex::new(r"\b[0-9]+(\.[0-9]+)?( ?k?B\b|m?s\b)").expect("a pattern"),
            ids: HashMap::new(),
        }
    }

    /// A command on the page, with the ids of this run.
    fn command(&self, shown: &str) -> String {
        let mut command = shown.to_owned();
        for (shown, ours) in &self.ids {
            command = command.replace(shown, ours);
        }
        command
    }

    /// Adds the ids of a run, then returns whether both texts agree.
    fn agrees(&mut self, shown: &str, ran: &str) -> bool {
        for (shown, ran) in shown.lines().zip(ran.lines()) {
            for (shown, ran) in self.id.find_iter(shown).zip(self.id.find_iter(ran)) {
                let ours = ran.as_str().to_owned();
                self.ids.entry(shown.as_str().to_owned()).or_insert(ours);
            }
        }
        self.plain(&self.command(shown)) == self.plain(ran)
    }

    fn plain(&self, text: &str) -> Vec<String> {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(|line| words(&self.varying.replace_all(line, "N"))).collect()
    }
}

#[test]
fn the_tour_is_what_happens() {
    let scratch = Scratch::new();
    let mut reader = Reader::new();
    let page = blocks("console").concat();
    let page = format!("\n{page}");
    let steps: Vec<&str> = page.split("\n$ ").skip(1).collect();
    assert!(steps.len() > 5, "the README has a tour");
    for step in steps {
        let (command, shown) = step.split_once('\n').unwrap_or((step, ""));
        let ours = reader.command(command);
        let run = || scratch.run(scratch.command("sh").args(["-c", &ours]));
        let mut ran = run();
        // Repeat a list: a person runs it later than this program, when a watch has matched the output.
        let patience = Instant::now() + Duration::from_secs(20);
        while command == LIST && !reader.agrees(shown, &ran) && Instant::now() < patience {
            ran = run();
        }
        assert!(reader.agrees(shown, &ran), "`{command}` prints:\n{ran}");
    }
}
