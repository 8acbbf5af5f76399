//! What is generated from the program itself: completions, the manual page, the protocol's schema.

use clap::CommandFactory;

use super::args::{self, Cli};
use super::failure::Failure;
use super::out::Out;
use crate::schema;

/// `meanwhile completions SHELL`.
pub(crate) fn completions(out: &mut Out, args: args::Completions) -> Result<u8, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "meanwhile", &mut text);
    out.raw(&text)?;
    Ok(0)
}

/// `meanwhile man`: the program's page, and each command's after it.
pub(crate) fn manual(out: &mut Out) -> Result<u8, Failure> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut text = Vec::new();
    let cannot = |error| Failure::new(format!("cannot write the manual page: {error}"));
    let page = clap_mangen::Man::new(command.clone());
    page.render(&mut text).map_err(cannot)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let page = clap_mangen::Man::new(sub.clone());
        page.render_name_section(&mut text).map_err(cannot)?;
        page.render_synopsis_section(&mut text).map_err(cannot)?;
        page.render_description_section(&mut text).map_err(cannot)?;
        page.render_options_section(&mut text).map_err(cannot)?;
    }
    out.raw(&text)?;
    Ok(0)
}

/// `meanwhile schema`.
pub(crate) fn schema(out: &mut Out) -> Result<u8, Failure> {
    out.raw(schema::text().as_bytes())?;
    Ok(0)
}
