//! `init`: writes a manifest from a recipe. It never overwrites a file.

use std::fs;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use ipnetwork::{IpNetwork, Ipv4Network};

use super::End;
use super::recipes::{RECIPES, Recipe};
use tenantd_core::manifest::suggest::closest;
use tenantd_core::name::AppName;
use tenantd_core::plan::facts::HostFacts;
use tenantd_host::facts::Live;
use tenantd_host::regular::{self, MANIFEST_MAX};

/// The folder of the manifests that the unit reads.
const MANIFESTS: &str = "/etc/tenantd";

/// The subnet of a manifest that names none.
const DEFAULT: u8 = 77;

/// Prints the recipes.
pub(super) fn list() -> anyhow::Result<End> {
    let width = RECIPES.iter().map(|recipe| recipe.name.len()).max();
    let width = width.unwrap_or_default();
    let mut out = anstream::stdout().lock();
    for recipe in RECIPES {
        let about = recipe.about();
        let about = about.split_once(": ").map_or(about, |(_, about)| about);
        writeln!(out, "{:width$}  {about}", recipe.name)?;
    }
    Ok(End::Done)
}

/// The recipe with this name.
///
/// # Errors
/// That there is none, with the nearest name.
pub(super) fn parse(name: &str) -> Result<&'static Recipe, String> {
    let found = RECIPES.iter().find(|recipe| recipe.name == name);
    found.ok_or_else(|| match closest(name, RECIPES.iter().map(|it| it.name)) {
        Some(near) => format!("there is no such recipe; did you mean {near}?"),
        None => "there is no such recipe; `tenantd init --list` shows all".to_owned(),
    })
}

/// Writes the manifest of an application and its templates, or prints the manifest.
pub(super) fn init(
    recipe: &Recipe,
    app: Option<AppName>,
    to: Option<&Path>,
) -> anyhow::Result<End> {
    let app = &match app {
        Some(app) => app,
        None => recipe
            .name
            .parse()
            .context("a recipe's name is one of an application")?,
    };
    let subnet = free_subnet()?;
    let text = recipe.manifest_for(app.as_str(), &subnet.to_string());
    if to == Some(Path::new("-")) {
        io::stdout().lock().write_all(text.as_bytes())?;
        return Ok(End::Done);
    }
    let path = match to {
        Some(path) => path.to_owned(),
        None => Path::new(MANIFESTS).join(format!("{app}.toml")),
    };
    // Programs find templates by the application's name, wherever the manifest is.
    let templates = path.with_file_name(format!("{app}.d"));
    if to.is_none() {
        make_folder(Path::new(MANIFESTS), 0o700)?;
    }
    if !recipe.templates.is_empty() && templates.exists() {
        anyhow::bail!("{}: not written: it exists already", templates.display());
    }
    write_new(&path, &text, 0o600)?;
    for (name, text) in recipe.templates {
        let file = templates.join(name);
        make_folder(file.parent().unwrap_or(&templates), 0o755)?;
        write_new(&file, text, 0o644)?;
    }
    say(recipe, app, &path, &templates, subnet)?;
    Ok(End::Done)
}

fn say(
    recipe: &Recipe,
    app: &AppName,
    path: &Path,
    templates: &Path,
    subnet: Ipv4Network,
) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    let shown = path.display();
    writeln!(out, "{shown}: written, from the recipe {}", recipe.name)?;
    if !recipe.templates.is_empty() {
        writeln!(out, "{}: written: its templates", templates.display())?;
    }
    let ip = subnet.nth(11).unwrap_or(subnet.network());
    writeln!(
        out,
        "Its first lines say which packages it needs and what to set. Then type:\n  \
         tenantd add acme ip={ip} --config {shown}\n  \
         tenantd check --config {shown}"
    )?;
    match path.parent() == Some(Path::new(MANIFESTS)) {
        true => writeln!(out, "  systemctl enable --now tenantd@{app}")?,
        false => writeln!(out, "  tenantd run --config {shown}")?,
    }
    Ok(())
}

fn make_folder(path: &Path, mode: u32) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path);
    made.with_context(|| format!("{}: cannot make the folder", path.display()))
}

/// Writes a new file.
///
/// # Errors
/// Also if it exists.
pub(super) fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let mut options = fs::File::options();
    let opened = options.write(true).create_new(true).mode(mode).open(path);
    let mut file = match opened {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            anyhow::bail!("{}: not written: it exists already", path.display());
        }
        opened => opened.with_context(|| format!("{}: not written", path.display()))?,
    };
    file.write_all(text.as_bytes())
        .with_context(|| format!("{}: cannot write", path.display()))
}

/// The first network from 10.77.0.0/24 on that neither an address of the host nor a manifest in
/// the folder of the manifests is in.
pub(super) fn free_subnet() -> anyhow::Result<Ipv4Network> {
    let addresses = Live
        .addresses()
        .context("cannot read the host's addresses")?;
    let ipv4 = |network| match network {
        IpNetwork::V4(network) => Some(network),
        IpNetwork::V6(_) => None,
    };
    let addresses = addresses.into_iter();
    let mut taken: Vec<Ipv4Network> = addresses.filter_map(|it| ipv4(it.network)).collect();
    taken.extend(subnets_of_manifests(Path::new(MANIFESTS))?);
    let mut all = (DEFAULT..=255).map(candidate);
    let free = all.find(|free| !taken.iter().any(|taken| taken.overlaps(*free)));
    Ok(free.unwrap_or_else(|| candidate(DEFAULT)))
}

/// 10.SECOND.0.0/24.
fn candidate(second: u8) -> Ipv4Network {
    let mask = Ipv4Addr::new(255, 255, 255, 0);
    Ipv4Network::with_netmask(Ipv4Addr::new(10, second, 0, 0), mask).expect("a mask of 24 bits")
}

fn subnets_of_manifests(folder: &Path) -> anyhow::Result<Vec<Ipv4Network>> {
    let failed = || format!("{}: cannot read the folder", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(failed),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path: PathBuf = entry.with_context(failed)?.path();
        if path.extension().is_none_or(|end| end != "toml") {
            continue;
        }
        let text = regular::read(&path, MANIFEST_MAX)
            .with_context(|| format!("{}: cannot read", path.display()))?;
        found.push(subnet_of(&String::from_utf8_lossy(&text)));
    }
    Ok(found)
}

/// The subnet of a manifest. A manifest with problems counts as one with the default.
fn subnet_of(text: &str) -> Ipv4Network {
    let table: Option<toml::Table> = text.parse().ok();
    let subnet = table.as_ref().and_then(|table| {
        let subnet = table.get("network")?.get("subnet")?;
        subnet.as_str()?.parse().ok()
    });
    subnet.unwrap_or_else(|| candidate(DEFAULT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subnets_of_manifests_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("a.toml", "[network]\nsubnet = \"10.80.0.0/16\"\n");
        write("b.toml", "[app]\nname = \"b\"\n");
        write("c.toml.bak", "[network]\nsubnet = \"10.81.0.0/16\"\n");
        let mut found = subnets_of_manifests(folder.path()).unwrap();
        found.sort();
        assert_eq!(found, [candidate(77), "10.80.0.0/16".parse().unwrap()]);
        assert!(
            subnets_of_manifests(&folder.path().join("none"))
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_file_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.toml");
        let (app, recipe) = (|| "shop".parse().ok(), parse("mosquitto").unwrap());
        init(recipe, app(), Some(&path)).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        assert!(folder.path().join("shop.d/listener.conf").exists());
        let other = folder.path().join("other.toml");
        let error = init(recipe, app(), Some(&other)).unwrap_err().to_string();
        assert!(
            error.ends_with("shop.d: not written: it exists already"),
            "{error}"
        );
        assert!(!other.exists());
        let error = init(parse("redis").unwrap(), app(), Some(&path)).unwrap_err();
        assert!(
            error.to_string().contains("not written: it exists"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
    }

    #[test]
    fn a_mistyped_recipe_gets_the_nearest() {
        assert!(parse("reddis").unwrap_err().contains("did you mean redis?"));
        assert!(parse("zzzzzzzz").unwrap_err().contains("--list"));
    }
}
