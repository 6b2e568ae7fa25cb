//! The release of the running kernel, for what cannot be asked in another way.

/// Its first two numbers; `None` if they cannot be read.
pub(crate) fn numbers() -> Option<(u32, u32)> {
    let name = rustix::system::uname();
    parse(&name.release().to_string_lossy())
}

/// The first two numbers of a release, such as `6.12.3-amd64`.
pub(crate) fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
        _ => None,
    }
}
