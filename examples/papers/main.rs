//! Generates man pages and completion scripts from the definitions that the program itself uses.
//! `packaging/build` runs it.
//!
//! `cargo run --example papers -- FOLDER DATE` writes `FOLDER/man` and `FOLDER/completions`; the
//! pages show the date.

mod commands;
mod completions;
pub(crate) mod manifest;
mod page;

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// All files: path within the folder, and text.
pub(crate) fn all(date: &str) -> Vec<(PathBuf, String)> {
    let mut papers = commands::pages(date);
    papers.push(("tenantd.toml.5".to_owned(), manifest::page(date)));
    let pages = papers
        .into_iter()
        .map(|(name, text)| (Path::new("man").join(name), text));
    let scripts = completions::scripts()
        .into_iter()
        .map(|(name, text)| (Path::new("completions").join(name), text));
    pages.chain(scripts).collect()
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, date] = &arguments[..] else {
        return Err(io::Error::other("say a folder and the date of the source"));
    };
    let folder = Path::new(folder);
    for kind in ["man", "completions"] {
        // Files of an older version must not be packaged.
        match fs::remove_dir_all(folder.join(kind)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(folder.join(kind))?,
        }
    }
    for (path, text) in all(date) {
        fs::write(folder.join(path), text)?;
    }
    Ok(())
}
