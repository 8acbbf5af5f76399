//! Generates completions, the manual page and the protocol's schema from the program itself.

use clap::CommandFactory;

use super::args::{self, Cli};
use super::failure::Failure;
use super::out::Out;
use super::show;
use crate::fronts::lsp::schema;

/// Prints completions for a shell.
pub(crate) fn completions(out: &mut Out, args: args::Completions) -> Result<u8, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "meanwhile", &mut text);
    out.raw(&text)?;
    Ok(0)
}

/// Prints the manual page of a command.
pub(crate) fn manual(out: &mut Out, args: args::Man) -> Result<u8, Failure> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let page = match &args.command {
        None => program,
        Some(name) => match program.find_subcommand(name) {
            Some(command) => command.clone(),
            None => {
                let names: Vec<&str> =
                    program.get_subcommands().map(clap::Command::get_name).collect();
                return Err(Failure::usage(format!("no command `{}`", show::one_line(name)))
                    .hint(format!("the commands are {}", names.join(", "))));
            }
        },
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page)
        .render(&mut text)
        .map_err(|error| Failure::new(format!("cannot write the manual page: {error}")))?;
    out.raw(&text)?;
    Ok(0)
}

/// Prints the JSON Schema of the protocol.
pub(crate) fn schema(out: &mut Out) -> Result<u8, Failure> {
    out.raw(schema::text().as_bytes())?;
    Ok(0)
}
