//! The `tenantd` program: parses the command line, executes it, prints an error and sets the exit
//! code.

use std::io;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use tenantd::cli::wrap::wrapped;
use tenantd::cli::{self, BadManifest, End, exec::NotRun, gc::Unconfirmed};
use tenantd_daemon::collect;
use tenantd_host::launch::memory::Memory;

#[global_allocator]
static MEMORY: Memory = Memory;

/// The exit code of a bad manifest (`EX_CONFIG`, sysexits.h): the unit does not restart on it.
const BAD_MANIFEST: u8 = 78;

/// The exit code of a usage error.
const USAGE: u8 = 2;

/// The exit code of a shell for a command that Ctrl-C ended: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

/// The exit code of `diff` if a reload would change something. Apart from 1, so that a script can
/// tell changes from a failure.
const DIFFERS: u8 = 3;

fn main() -> ExitCode {
    if let Some((app, number)) = collect::asked() {
        return match collect::run(&app, number) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        };
    }
    if let Some(done) = cli::learn::scratch::asked() {
        return match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        };
    }
    match tenantd_host::hold::asked() {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => return failed(&error.into()),
    }
    if let Some(done) = cli::deputy::asked() {
        return match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        };
    }
    match tenantd_host::cgroup::asked() {
        None => {}
        Some(Ok(lost)) => {
            for (tenant, why) in lost {
                anstream::eprintln!("tenantd: {tenant}: {:#}", anyhow::Error::from(why));
            }
            return ExitCode::SUCCESS;
        }
        Some(Err(error)) => return failed(&error.into()),
    }
    match tenantd_host::keeper::asked() {
        None => {}
        Some(Ok(())) => return ExitCode::SUCCESS,
        Some(Err(error)) => return failed(&error.into()),
    }
    if let Some(done) = cli::leak_test::asked() {
        return match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        };
    }
    if let Some(error) = cli::exec::asked() {
        return failed(&error);
    }
    cli::complete::answer();
    let executed = cli::parse()
        .map_err(anyhow::Error::from)
        .and_then(cli::execute);
    match executed {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::NotAsWanted) => ExitCode::FAILURE,
        Ok(End::Interrupted) => code(INTERRUPTED),
        Ok(End::Differs) => code(DIFFERS),
        Ok(End::Exited(number)) => code(number),
        Err(error) => failed(&error),
    }
}

/// Prints an error, and returns its exit code.
fn failed(error: &anyhow::Error) -> ExitCode {
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        // If standard error is closed, the exit code remains.
        let _ = usage.print();
        return code(u8::try_from(usage.exit_code()).unwrap_or(USAGE));
    }
    if let Some(BadManifest { rendered }) = error.downcast_ref() {
        if !rendered.is_empty() {
            anstream::eprintln!("{}", rendered.trim_end());
        }
        return code(BAD_MANIFEST);
    }
    if let Some(unconfirmed) = error.downcast_ref::<Unconfirmed>() {
        anstream::eprintln!("{unconfirmed}");
        return code(USAGE);
    }
    if is_broken_pipe(error) {
        // The reader has closed the pipe, as `| head` does.
        return ExitCode::SUCCESS;
    }
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let text = format!("tenantd: error: {error:#}");
    let text = wrapped(&text, &io::stderr());
    let text = text.replacen("error:", &format!("{red}error:{red:#}"), 1);
    anstream::eprintln!("{text}");
    match error.downcast_ref::<NotRun>() {
        Some(not_run) => code(not_run.code()),
        None => ExitCode::FAILURE,
    }
}

fn code(code: u8) -> ExitCode {
    ExitCode::from(code)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    })
}
