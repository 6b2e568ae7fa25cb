//! The rules for braces, by examples and by random texts.

use proptest::prelude::*;

use super::*;

fn rules(slots: &[Slot], style: Style) -> Rules<'_> {
    Rules {
        slots,
        vars: true,
        style,
    }
}

fn filled(text: &str, style: Style) -> String {
    let template = Template::parse(text, rules(ALL, style)).unwrap();
    template.fill(|name| match name {
        Name::Slot(slot) => slot.word().to_uppercase(),
        Name::Var(name) => name.to_uppercase(),
    })
}

#[test]
fn placeholders_are_filled_in_every_style() {
    for style in [Style::Path, Style::Text, Style::File] {
        let text = "{{{tenant}}} at {ip}:80 ü {vars.colour}";
        assert_eq!(filled(text, style), "{TENANT} at IP:80 ü COLOUR");
        assert_eq!(filled("{{tenant}}", style), "{tenant}");
        assert_eq!(filled("{{{{vars.a}}}}", style), "{{vars.a}}");
    }
}

#[test]
fn braces_of_other_languages_are_text() {
    for text in [
        r#"{"a": 1}"#,
        r#"{"a":{"b":[{}]}}"#,
        "${HOME}/{}",
        "{print $1}",
        "/[0-9]{1,3}/",
        "a } b { c",
        "server { location / { return 200 \"a b\"; } }",
        "{ { } }",
        "%{Referer}i",
    ] {
        assert_eq!(filled(text, Style::Text), text);
        assert_eq!(filled(text, Style::File), text);
    }
    for text in [
        "{{ x }}{{.Name}}",
        "{{}}",
        "{{name}}",
        "%{colour}",
        "{print}",
        "{id}",
    ] {
        assert_eq!(filled(text, Style::File), text);
    }
    let text = r#"{"ip": "{ip}", "a": {"{{ip}}": {}}}"#;
    let expected = r#"{"ip": "IP", "a": {"{ip}": {}}}"#;
    assert_eq!(filled(text, Style::Text), expected);
    assert_eq!(filled(text, Style::File), expected);
}

#[test]
fn doubled_braces_of_a_string_without_single_ones_are_single() {
    for (text, expected) in [
        ("{{\"a\": 1}}", "{\"a\": 1}"),
        ("{{literally}}{{}}", "{literally}{}"),
        ("{{{{.Name}}}}", "{{.Name}}"),
        ("{{{ip}}}", "{IP}"),
    ] {
        assert_eq!(filled(text, Style::Text), expected);
    }
    assert_eq!(filled("{{/a}}/{app}", Style::Path), "{/a}/APP");
}

#[test]
fn filled_values_are_not_expanded_again() {
    let template = Template::parse("{app}", rules(ALL, Style::Text)).unwrap();
    assert_eq!(template.fill(|_| "{tenant}".to_owned()), "{tenant}");
}

#[test]
fn errors_name_the_invalid_bytes() {
    let wrong = |text: &str, slots, style| -> Vec<String> {
        let errors = Template::parse(text, rules(slots, style)).unwrap_err();
        let texts = errors
            .iter()
            .map(|error| text[error.at().clone()].to_owned());
        texts.collect()
    };
    assert_eq!(
        wrong("ü {tennant} {x} { {", ALL, Style::Text),
        ["{tennant}", "{x}"]
    );
    assert_eq!(wrong("{tennant} {x}", ALL, Style::File), ["{tennant}"]);
    for style in [Style::Path, Style::Text, Style::File] {
        assert_eq!(wrong("a {ip}", OF_APP, style), ["{ip}"]);
        assert_eq!(wrong("{vars.A}", ALL, style), ["{vars.A}"]);
    }
    assert_eq!(wrong("a } b", ALL, Style::Path), ["}"]);
    assert_eq!(wrong("a { b", ALL, Style::Path), ["{"]);
    assert_eq!(wrong("{", ALL, Style::Path), ["{"]);
}

/// How earlier versions read a text: every brace is doubled or part of a placeholder.
fn earlier(text: &str) -> Option<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(brace) = rest.chars().next() {
        if rest.starts_with("{{") || rest.starts_with("}}") {
            filled.push(brace);
            rest = &rest[2..];
        } else if brace == '{' {
            let (word, after) = rest[1..].split_once('}')?;
            ALL.iter().find(|slot| slot.word() == word)?;
            filled += &word.to_uppercase();
            rest = after;
        } else if brace == '}' {
            return None;
        } else {
            filled.push(brace);
            rest = &rest[brace.len_utf8()..];
        }
    }
    Some(filled)
}

/// Texts with many braces, and with words in them.
fn texts() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("{"),
        Just("}"),
        Just("{{"),
        Just("}}"),
        Just("{ip}"),
        Just("{tenant}"),
        Just("ip"),
        Just("x"),
        Just("\""),
        Just(" "),
        Just("$"),
        Just("ü"),
        Just("{x}"),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn every_text_of_earlier_versions_means_the_same(text in texts()) {
        if let Some(expected) = earlier(&text) {
            for style in [Style::Path, Style::Text] {
                prop_assert_eq!(filled(&text, style), expected.clone());
            }
        }
    }

    #[test]
    fn text_without_a_word_in_braces_is_kept(text in "[ {}0-9A-Z$\":,.ü\n]{0,30}") {
        prop_assert_eq!(filled(&text, Style::File), text.clone());
        if text.replace("{{", "").replace("}}", "").contains(['{', '}']) {
            prop_assert_eq!(filled(&text, Style::Text), text);
        }
    }

    /// Each text can be written: with the braces of its words doubled.
    #[test]
    fn every_text_can_be_written(text in texts()) {
        let written = text.replace("{ip}", "{{ip}}").replace("{tenant}", "{{tenant}}");
        let template = Template::parse(&written, rules(ALL, Style::File));
        prop_assert!(template.is_ok());
        let doubled = text.replace('{', "{{").replace('}', "}}");
        prop_assert_eq!(filled(&doubled, Style::Text), text.clone());
        prop_assert_eq!(filled(&doubled, Style::Path), text);
    }

    #[test]
    fn errors_are_within_the_text(text in "\\PC{0,20}", style in 0_usize..3) {
        let style = [Style::Path, Style::Text, Style::File][style];
        if let Err(errors) = Template::parse(&text, rules(OF_APP, style)) {
            for error in errors {
                prop_assert!(text.get(error.at().clone()).is_some());
            }
        }
    }
}
