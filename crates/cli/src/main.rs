//! `kvolt`: for operators of KVolt's session stores.
//!
//! The README has each command with an example, the exit statuses and the fields of `--json`.

#![cfg_attr(
    not(all(feature = "redis", feature = "postgres", feature = "mysql", feature = "sqlite")),
    allow(
        dead_code,
        unreachable_code,
        unused_imports,
        unused_variables,
        reason = "a part belongs to stores that this program was built without"
    )
)]

mod args;
mod check;
mod copy;
mod failure;
mod output;
mod schema;
mod session;
mod sessions;
mod store;
mod url;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_mangen::Man;

use crate::args::{Cli, Command};
use crate::failure::{Done, Failure, failed};
use crate::output::Output;

fn main() -> ExitCode {
    let Cli { command, json } = Cli::parse();
    let mut output = Output::new(json);
    let done = run(command, &mut output).and_then(|done| output.flush().map(|()| done));
    match done {
        Ok(Done::Fully) => ExitCode::SUCCESS,
        Ok(Done::WithFindings) => ExitCode::from(3),
        // The reader has seen enough, as `head` does.
        Err(failure) if failure.is_closed_output => ExitCode::SUCCESS,
        Err(failure) => {
            use std::io::Write as _;
            // The output before the failure comes first. Nothing can be done if this fails.
            let _ = output.flush();
            let _ = writeln!(std::io::stderr(), "error: {failure}");
            ExitCode::from(if failure.is_usage { 2 } else { 1 })
        }
    }
}

fn run(command: Command, output: &mut Output) -> Result<Done, Failure> {
    match command {
        Command::Schema(args) => return schema::schema(&args, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "kvolt", &mut script);
            return output.bytes(&script).map(|()| Done::Fully);
        }
        Command::Man => return manual().and_then(|page| output.bytes(&page)).map(|()| Done::Fully),
        _ => {}
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|why| failed(format!("no runtime can be started: {why}")))?;
    runtime.block_on(async {
        match command {
            Command::Check(args) => check::check(&args, output).await,
            Command::Info(args) => check::info(&args, output).await,
            Command::List(args) => sessions::list(args, output).await,
            Command::Show(args) => sessions::show(args, output).await,
            Command::Revoke(args) => sessions::revoke(args, output).await,
            Command::RevokeOwner(args) => sessions::revoke_owner(args, output).await,
            Command::Count(args) => sessions::count(args, output).await,
            Command::Copy(args) => Box::pin(copy::copy(args, output)).await,
            Command::Schema(_) | Command::Completions { .. } | Command::Man => {
                unreachable!("these need no store")
            }
        }
    })
}

/// The manual page: the program, each command, and then the stores and the exit status.
fn manual() -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    let mut program = Cli::command();
    program.build();
    let man = Man::new(program.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("kvolt {}", command.get_name());
        let man = Man::new(command.clone().bin_name(name.clone()).display_name(name.clone()));
        let mut section = Vec::new();
        man.render_synopsis_section(&mut section)?;
        man.render_description_section(&mut section)?;
        man.render_options_section(&mut section)?;
        let section = String::from_utf8_lossy(&section)
            .replace(".SH SYNOPSIS", &format!(".SH {}", name.to_uppercase()))
            .replace(".SH DESCRIPTION", ".PP")
            .replace(".SH OPTIONS", ".SS Options");
        page.extend(section.into_bytes());
    }
    let mut stores = Vec::new();
    man.render_extra_section(&mut stores)?;
    page.extend(String::from_utf8_lossy(&stores).replace(".SH EXTRA", ".SH STORES").into_bytes());
    Ok(page)
}
