//! Completion scripts for bash, zsh and fish. They run the program to get candidates, so that they
//! complete the names of tenants.

use std::io;

use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use tenantd::cli::complete::VARIABLE;

const NAME: &str = "tenantd";

/// All scripts: file name and text.
pub(crate) fn scripts() -> Vec<(String, String)> {
    let shells: [(&str, &dyn EnvCompleter); 3] = [
        ("tenantd.bash", &Bash),
        ("_tenantd", &Zsh),
        ("tenantd.fish", &Fish),
    ];
    let written = shells.map(|(file, shell)| {
        let script = script(shell).expect("memory can be written to");
        (file.to_owned(), script)
    });
    let mut scripts = Vec::from(written);
    scripts[1].1 += FIRST_TAB;
    scripts
}

/// zsh loads the script as the body of `_tenantd` at the first TAB; this line completes that one too.
const FIRST_TAB: &str = "
if [[ ${funcstack[1]-} == _tenantd ]]; then
    _clap_dynamic_completer_tenantd \"$@\"
fi
";

fn script(shell: &dyn EnvCompleter) -> io::Result<String> {
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, NAME, NAME, NAME, &mut script)?;
    String::from_utf8(script).map_err(io::Error::other)
}
