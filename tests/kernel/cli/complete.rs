//! Completion with the scripts of the package, in real shells where they can complete without a
//! terminal.

use super::*;

#[path = "../../../examples/papers/completions.rs"]
mod completions;

/// Runs a script in a shell, with the program in PATH and the completion script as `$1`.
fn shell(shell: &[&str], script: &str, commands: &str) -> String {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_tenantd"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(script);
    let scripts = completions::scripts();
    let (_, text) = scripts.iter().find(|(name, _)| name == script).unwrap();
    std::fs::write(&file, text).unwrap();
    let path = format!(
        "{}:{}",
        program.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let name = shell[0];
    let output = Command::new("timeout")
        .arg(LIMIT.as_secs().to_string())
        .args(shell)
        .args(["-c", commands])
        .env("PATH", path)
        .env("SCRIPT", &file)
        .env("HOME", folder.path())
        .env_remove("TENANTD_APP")
        .env_remove("TENANTD_CONFIG")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, "", "a person is typing");
    assert_eq!(output.status.code(), Some(0), "{name}");
    String::from_utf8(output.stdout).unwrap()
}

/// The candidates that bash offers for the last of these words.
fn bash(words: &[&str]) -> Vec<String> {
    let mut commands = "source \"$SCRIPT\"\nCOMP_WORDS=(".to_owned();
    for word in words {
        commands += &format!("'{word}' ");
    }
    let last = words.len() - 1;
    commands += &format!(
        ")\nCOMP_CWORD={last}\nCOMP_TYPE=9\n\
         _clap_complete_tenantd tenantd '{}' '{}' 2>&1\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words[last],
        words[last - 1]
    );
    let offered = shell(&["bash", "--norc"], "tenantd.bash", &commands);
    let lines = offered.lines().map(|line| line.trim_end().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

#[test]
fn bash_completes_verbs_and_tenants() {
    support::enter();
    let script = Script::new();
    let app = script.app.to_string();
    assert_eq!(bash(&["tenantd", "stat"]), ["status"]);
    assert_eq!(bash(&["tenantd", "start", "a"]), [""; 0], "nothing runs");
    script.serve();
    for verb in ["start", "stop", "restart", "kill", "status", "logs", "exec"] {
        assert_eq!(bash(&["tenantd", verb, "a"]), ["acme"], "{verb}");
    }
    let both = bash(&["tenantd", "start", "acme", ""]);
    assert!(both.contains(&"beta".to_owned()), "{both:?}");
    assert_eq!(bash(&["tenantd", "status", "--app", "test-"]), [&*app]);

    // With two applications, only the named one is asked.
    Script::new().serve();
    assert_eq!(bash(&["tenantd", "start", "a"]), [""; 0]);
    assert_eq!(bash(&["tenantd", "--app", &app, "start", "a"]), ["acme"]);
}

#[test]
fn completion_does_not_wait_for_a_hanging_supervisor() {
    support::enter();
    let socket = wire::control_socket(&"deaf".parse().unwrap());
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(bash(&["tenantd", "start", "a"]), [""; 0]);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn fish_completes_tenants() {
    support::enter();
    Script::new().serve();
    let commands = "source $SCRIPT; complete --do-complete 'tenantd start a'";
    let offered = shell(&["fish", "--no-config"], "tenantd.fish", commands);
    assert_eq!(offered, "acme\tup, 10.77.0.11\n");
}

/// zsh completes only with a terminal, which `zpty` provides. The script is found as the packaged
/// one is: the first TAB loads it, and must be completed too.
#[test]
fn zsh_completes_tenants() {
    support::enter();
    Script::new().serve();
    let commands = r#"
        zmodload zsh/zpty
        zpty inner zsh -f
        zpty -w inner "PS1= ; fpath=(${SCRIPT:h} $fpath); autoload -Uz compinit; compinit -u -D; bindkey '^I' complete-word"
        zpty -w inner 'echo re""ady'
        zpty -r inner said '*ready*'
        zpty -n -w inner $'tenantd start a\t; echo :en""d:\n'
        zpty -r inner said '*acme*:end:*'
        print -r -- ${said}
        zpty -d inner
    "#;
    let said = shell(&["zsh", "-f"], "_tenantd", commands);
    assert!(said.contains("tenantd start acme"), "{said}");
}
