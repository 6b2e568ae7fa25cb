//! Parses messages to syslog, as they arrive at `/dev/log`: RFC 5424, RFC 3164 and what programs make of
//! them. Never fails: what is not understood is text.
//!
//! The forms of journald(8) are understood, and give the same fields there.

/// The facility and level of a message that names none, as journald(8) takes them: user, info.
const DEFAULT: u8 = 14;

/// The highest valid priority: facility 23, level 7.
const PRIORITY_MAX: u32 = 191;

/// The longest identifier in bytes. RFC 5424 allows 48.
const IDENTIFIER_MAX: usize = 64;

/// The lengths of a time stamp of RFC 3164, with the space after it.
const STAMP: usize = "Nov 26 21:00:00 ".len();

/// The byte order mark that RFC 5424 asks for before a text in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// A message. Its identifier and process are what the program says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// 0 (emergency) to 7 (debug).
    pub level: u8,
    /// 0 to 23.
    pub facility: u8,
    /// Who sent it, without white space and control characters.
    pub identifier: Option<&'a str>,
    /// The process.
    pub pid: Option<u32>,
    /// The text, which may have several lines.
    pub text: &'a [u8],
}

/// Parses a message.
#[must_use]
pub fn parse(message: &[u8]) -> Message<'_> {
    let is_text = |byte: &u8| *byte != 0 && !byte.is_ascii_whitespace();
    let end = message.iter().rposition(is_text);
    let message = &message[..end.map_or(0, |end| end + 1)];
    let (priority, rest) = priority(message);
    let (identifier, pid, text) = new_form(rest).unwrap_or_else(|| old_form(rest));
    Message {
        level: priority % 8,
        facility: priority / 8,
        identifier,
        pid,
        text,
    }
}

/// The number at the beginning, as in `<14>`.
fn priority(message: &[u8]) -> (u8, &[u8]) {
    let named = || {
        let rest = message.strip_prefix(b"<")?;
        let len = rest.iter().take(4).position(|&byte| byte == b'>')?;
        let number: u32 = number(&rest[..len])?;
        let number = u8::try_from(number)
            .ok()
            .filter(|_| number <= PRIORITY_MAX)?;
        Some((number, &rest[len + 1..]))
    };
    named().unwrap_or((DEFAULT, message))
}

fn number(digits: &[u8]) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| is_number)?
        .parse()
        .ok()
}

type Rest<'a> = (Option<&'a str>, Option<u32>, &'a [u8]);

/// RFC 5424: `1 TIME HOST NAME PROCESS ID DATA TEXT`, each of them `-` if it is not known.
fn new_form(rest: &[u8]) -> Option<Rest<'_>> {
    let rest = rest.strip_prefix(b"1 ")?;
    let mut fields = rest.splitn(6, |&byte| byte == b' ');
    let time = fields.next()?;
    let is_time = time == b"-" || (time.len() >= 20 && time[..4].iter().all(u8::is_ascii_digit));
    let (_host, name, process, _id) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    let rest = fields.next().filter(|_| is_time)?;
    let text = match rest.strip_prefix(b"-") {
        Some(text) => text,
        None => data(rest)?,
    };
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let text = text.strip_prefix(MARK).unwrap_or(text);
    Some((
        identifier(name).filter(|name| *name != "-"),
        number(process),
        text,
    ))
}

/// What follows the quality of the time in structured data, which says nothing about the message.
/// Other data stays, as a part of the text. None if it is no structured data.
fn data(rest: &[u8]) -> Option<&[u8]> {
    let whole = rest;
    let mut rest = rest.strip_prefix(b"[")?;
    let is_quality = rest.starts_with(b"timeQuality");
    let mut quoted = false;
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'\\' if quoted => rest = rest.split_first()?.1,
            b'"' => quoted = !quoted,
            b']' if !quoted => break,
            _ => {}
        }
    }
    Some(if is_quality { rest } else { whole })
}

/// RFC 3164: `TIME NAME[PROCESS]: TEXT`, where the time may be missing, and a host may precede the
/// name.
fn old_form(rest: &[u8]) -> Rest<'_> {
    let (has_time, rest) = match after_time(rest) {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if let Some(found) = tag(rest) {
        return found;
    }
    let second = has_time
        .then(|| rest.splitn(2, |&byte| byte == b' ').nth(1))
        .flatten();
    match second.and_then(tag) {
        // Without a process it could be a part of the text.
        Some(found) if found.1.is_some() => found,
        Some(_) | None => (None, None, rest),
    }
}

fn after_time(rest: &[u8]) -> Option<&[u8]> {
    const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let stamp = rest.get(..STAMP)?;
    let is_month = MONTHS.chunks(3).any(|month| stamp.starts_with(month));
    let form = stamp[3..]
        .iter()
        .zip(b" 00 00:00:00 ")
        .all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit() || *byte == b' ',
            form => byte == form,
        });
    if is_month && form {
        return Some(&rest[STAMP..]);
    }
    // As RFC 5424 writes it, which some programs do in the older form too.
    let len = rest.iter().take(40).position(|&byte| byte == b' ')?;
    let stamp = &rest[..len];
    let is_date = len >= 20
        && stamp
            .iter()
            .zip(b"0000-00-00T00:00:00")
            .all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                form => byte == form,
            });
    is_date.then(|| &rest[len + 1..])
}

/// `NAME: TEXT` or `NAME[PROCESS]: TEXT`.
fn tag(rest: &[u8]) -> Option<Rest<'_>> {
    let len = rest
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(rest.len());
    let named = rest[..len].strip_suffix(b":")?;
    let text = &rest[len..];
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let opened = named
        .iter()
        .rposition(|&byte| byte == b'[')
        .filter(|_| named.ends_with(b"]"));
    let (name, pid) = match opened {
        Some(at) => (&named[..at], number(&named[at + 1..named.len() - 1])),
        None => (named, None),
    };
    Some((Some(identifier(name)?), pid, text))
}

fn identifier(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    let is_plain = |c: char| {
        !c.is_whitespace() && super::split::shown(c.encode_utf8(&mut [0; 4])).len() == c.len_utf8()
    };
    (!name.is_empty() && name.len() <= IDENTIFIER_MAX && name.chars().all(is_plain)).then_some(name)
}

/// The names of the levels, see syslog(3).
pub const LEVELS: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn is(message: &str, priority: u8, identifier: &str, pid: u32, text: &str) {
        let parsed = parse(message.as_bytes());
        let expected = Message {
            level: priority % 8,
            facility: priority / 8,
            identifier: (!identifier.is_empty()).then_some(identifier),
            pid: (pid > 0).then_some(pid),
            text: text.as_bytes(),
        };
        assert_eq!(parsed, expected, "{message:?}");
    }

    #[test]
    fn what_programs_send() {
        // glibc, musl, logger, and logger with a host.
        is(
            "<27>Nov 26 21:00:00 slapd[812]: conn=1 fd=12",
            27,
            "slapd",
            812,
            "conn=1 fd=12",
        );
        is(
            "<30>Nov  6 21:00:00 dovecot: master: started\n",
            30,
            "dovecot",
            0,
            "master: started",
        );
        is("<13>Nov 26 21:00:00 host sshd[7]: x", 13, "sshd", 7, "x");
        is("<13>squid[1]:no space", 13, "", 0, "squid[1]:no space");
        is("<13>squid[1]: one", 13, "squid", 1, "one");
        is("<13>2026-11-26T21:00:00.1+01:00 app: x", 13, "app", 0, "x");
        is(
            "<86>Nov 26 21:00:00 a/b(pam_unix)[3]: x\0",
            86,
            "a/b(pam_unix)",
            3,
            "x",
        );
        is(
            "<165>1 2026-11-26T21:00:00.003Z host app 77 ID7 - \u{feff}text",
            165,
            "app",
            77,
            "text",
        );
        is(
            "<13>1 2026-11-26T21:00:00Z h root - - [timeQuality tzKnown=\"1\" isSynced=\"0\"] hi",
            13,
            "root",
            0,
            "hi",
        );
        is(
            "<13>1 - - - - - [a b=\"\\]]\"] x",
            13,
            "",
            0,
            "[a b=\"\\]]\"] x",
        );
        is("<13>1 - - - - - -", 13, "", 0, "");
    }

    #[test]
    fn what_is_not_understood_is_text() {
        is("", DEFAULT, "", 0, "");
        is("\0\n\0", DEFAULT, "", 0, "");
        is("plain words", DEFAULT, "", 0, "plain words");
        is("<13>", 13, "", 0, "");
        is("<192>x", DEFAULT, "", 0, "<192>x");
        is("<+3>x", DEFAULT, "", 0, "<+3>x");
        is("<1", DEFAULT, "", 0, "<1");
        is("<13>: x", 13, "", 0, ": x");
        is(
            "<13>Nov 26 21:00:00 went wrong: x",
            13,
            "",
            0,
            "went wrong: x",
        );
        is("<13>1 later", 13, "", 0, "1 later");
        is("<13>1 - - - - - [open", 13, "", 0, "1 - - - - - [open");
        is("<13>\x1b[2J: x", 13, "", 0, "\x1b[2J: x");
        let parsed = parse(b"<13>\xff\xfe[9]: \xff");
        assert_eq!(
            (parsed.identifier, parsed.text),
            (None, b"\xff\xfe[9]: \xff".as_slice())
        );
        is(
            &format!("<13>{}: x", "a".repeat(65)),
            13,
            "",
            0,
            &format!("{}: x", "a".repeat(65)),
        );
        is("<13>a[99999999999]: x", 13, "a", 0, "x");
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(
            head in prop::sample::select(vec!["", "<13>", "<13>1 ", "<13>1 - - - - - ", "<13>Nov 26 21:00:00 "]),
            bytes in prop::collection::vec(prop::sample::select(b"<>[]:\\\" \n\0-1aN\xff\xef\xbb\xbf".to_vec()), 0..40),
        ) {
            let message = [head.as_bytes(), &bytes].concat();
            let parsed = parse(&message);
            prop_assert!(parsed.level <= 7 && parsed.facility <= 23);
            prop_assert!(parsed.text.len() <= message.len());
            let plain = |c: char| !c.is_control() && !c.is_whitespace();
            prop_assert!(parsed.identifier.is_none_or(|name| !name.is_empty() && name.chars().all(plain)));
        }
    }
}
