//! Command lines that are accepted, and those that are refused.

use clap::{CommandFactory, error::ErrorKind};

use super::*;

fn parse(line: &str) -> Result<Cli, ErrorKind> {
    Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.kind())
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn run_is_the_default_command() {
    let cli = parse("tenantd --config a.toml").unwrap();
    assert!(cli.command.is_none());
    assert_eq!(cli.chosen.config.unwrap().to_str(), Some("a.toml"));
    for line in ["tenantd run --config a.toml", "tenantd --config a.toml run"] {
        let cli = parse(line).unwrap();
        assert!(matches!(cli.command, Some(Command::Run(_))));
        assert!(cli.chosen.config.is_some());
    }
}

#[test]
fn tenants_are_either_named_or_all() {
    let Some(Command::Stop(act)) = parse("tenantd stop acme beta --no-wait").unwrap().command
    else {
        panic!("a stop was typed");
    };
    assert_eq!(
        (
            act.act.which.names.len(),
            act.act.which.all,
            act.act.no_wait
        ),
        (2, false, true)
    );
    assert!(!act.permanent);
    assert_eq!(
        parse("tenantd start acme --wait --no-wait").unwrap_err(),
        ErrorKind::ArgumentConflict
    );
    assert!(parse("tenantd restart acme --permanent").is_err());
    assert!(parse("tenantd stop --all").is_ok());
    assert_eq!(
        parse("tenantd stop").unwrap_err(),
        ErrorKind::MissingRequiredArgument
    );
    assert_eq!(
        parse("tenantd stop acme --all").unwrap_err(),
        ErrorKind::ArgumentConflict
    );
    assert_eq!(
        parse("tenantd stop ../etc").unwrap_err(),
        ErrorKind::ValueValidation
    );
    assert_eq!(
        parse("tenantd status --app a --config b").unwrap_err(),
        ErrorKind::ArgumentConflict
    );
}

#[test]
fn a_command_in_a_tenant_keeps_its_own_options() {
    let line = "tenantd exec acme --app wiki -- ls -l --all";
    let cli = parse(line).unwrap();
    assert_eq!(cli.chosen.app.as_deref(), Some("wiki"));
    let Some(Command::Exec(Exec { command, .. })) = cli.command else {
        panic!("an exec was typed");
    };
    assert_eq!(command, ["ls", "-l", "--all"]);
    let typed = |line: &str| match parse(line).unwrap().command {
        Some(Command::Exec(what)) => (what.tenant.to_string(), what.command),
        _ => panic!("an exec was typed"),
    };
    let ls = (
        "acme".to_owned(),
        vec!["ls".into(), "-l".into(), "--app".into()],
    );
    assert_eq!(typed("tenantd exec acme ls -l --app"), ls);
    assert_eq!(typed("tenantd --app wiki exec acme ls -l --app"), ls);
    assert_eq!(typed("tenantd exec --app wiki acme ls -l --app"), ls);
    assert_eq!(typed("tenantd exec acme --app wiki ls -l --app"), ls);
    let (_, help) = typed("tenantd exec acme ls --help -- -V --version");
    assert_eq!(help, ["ls", "--help", "--", "-V", "--version"]);
    assert!(parse("tenantd exec acme").is_err());
    assert!(parse("tenantd exec acme --").is_err());
}

#[test]
fn each_help_has_examples_of_its_own_command() {
    let mut cli = Cli::command();
    cli.build();
    for command in cli.get_subcommands_mut() {
        let name = command.get_name().to_owned();
        // What is hidden is typed by no operator.
        if name == "help" || command.is_hide_set() {
            continue;
        }
        let help = command.render_long_help().to_string();
        let (_, examples) = help.split_once("EXAMPLES\n").expect(&name);
        assert!(examples.contains(&format!("tenantd {name}")), "{help}");
    }
}

/// The words of a line as a shell sees them: single quotes keep what is between them together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (index, part) in line.split('\'').enumerate() {
        let pieces: Vec<&str> = match index % 2 {
            0 => part.split(' ').collect(),
            _ => vec![part],
        };
        for (index, piece) in pieces.into_iter().enumerate() {
            words.extend((index > 0).then(String::new));
            words.last_mut().unwrap().push_str(piece);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_example_parses() {
    let mut cli = Cli::command();
    cli.build();
    let mut texts = vec![cli.render_long_help().to_string()];
    texts.extend(
        cli.get_subcommands_mut()
            .map(|c| c.render_long_help().to_string()),
    );
    let mut count = 0;
    for line in texts.iter().flat_map(|text| text.lines()) {
        let Some(line) = line.strip_prefix("  tenantd ") else {
            continue;
        };
        // Up to a pipe, a redirection, or the explanation in the last column.
        let end = [" |", " &&", " >", "   "]
            .iter()
            .filter_map(|at| line.find(at))
            .min();
        let typed = format!("tenantd {}", &line[..end.unwrap_or(line.len())]);
        let parsed = Cli::try_parse_from(words(&typed));
        assert!(parsed.is_ok(), "{typed}: {:?}", parsed.err());
        count += 1;
    }
    assert!(count >= 18, "only {count} examples were found");
}
