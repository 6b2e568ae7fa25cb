//! The `tenantd-meter` program: the part of tenantd that contains SQLite. `tenantd meter` and `tenantd usage` execute
//! it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match tenantd_meter::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tenantd: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
