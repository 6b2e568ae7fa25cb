//! `export` and `import`: a tenant as one stream.

mod entry;
mod shown;

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use jiff::Timestamp;

use self::shown::Shown;
use super::args::{Export, Import, Show, Wait};
use super::plain::plain;
use super::{End, edit, plan};
use tenantd_api::client::app::Selector;
use tenantd_core::manifest::edit::keys;
use tenantd_core::name::TenantName;
use tenantd_core::plan::model::TenantPlan;
use tenantd_host::bundle::{self, BundleError, Exported, FORMAT, Head, Imported};
use tenantd_host::limits;

const BUFFER: usize = 1 << 18;

/// Writes a bundle.
pub(super) fn export(selector: &Selector, what: &Export) -> anyhow::Result<End> {
    root()?;
    let config = edit::manifest(selector)?;
    let (plan, _) = plan::read(&config)?;
    plan::check_known(&config, &plan, std::slice::from_ref(&what.tenant))?;
    let Some(tenant) = plan.tenants.iter().find(|it| it.name == what.tenant) else {
        bail!("{}: no such tenant", what.tenant);
    };
    let text = fs::read_to_string(&config).with_context(|| config.display().to_string())?;
    let head = head(plan.app.as_str(), tenant, keys(&text, &what.tenant)?)?;
    // A folder is open for each level of the datastore.
    limits::raise().context("cannot raise the limit on open descriptors")?;
    let mut shown = Shown::new(&format!("{}: exported", what.tenant));
    let written = |out: &mut dyn Write, shown: &mut Shown| {
        let out = BufWriter::with_capacity(BUFFER, out);
        bundle::export(&plan.app, tenant, &head, out, &mut |counts| {
            shown.show(counts);
        })
    };
    let exported = match what.to.as_os_str() == "-" {
        true if io::stdout().is_terminal() => {
            bail!("a bundle is not for a terminal: use --to FILE, or a pipe");
        }
        true => written(&mut io::stdout().lock(), &mut shown),
        false => whole(&what.to, |out| written(out, &mut shown)),
    };
    let exported = exported
        .map_err(clean)
        .with_context(|| format!("{}: not exported", what.tenant))?;
    shown.end();
    said(&what.tenant, &exported);
    Ok(End::Done)
}

fn said(tenant: &TenantName, exported: &Exported) {
    let counts = shown::text(exported.counts);
    let left = match exported.sockets {
        0 => String::new(),
        number => format!("; {number} sockets were left out"),
    };
    eprintln!("{tenant}: exported {counts}{left}");
}

fn head(app: &str, tenant: &TenantPlan, entry: Vec<(String, String)>) -> anyhow::Result<Head> {
    let mut id = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut id))
        .context("/dev/urandom")?;
    Ok(Head {
        format: FORMAT,
        id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        made: Timestamp::now(),
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        app: app.to_owned(),
        tenant: tenant.name.to_string(),
        entry,
        uid: tenant.datastore.uid,
        gid: tenant.datastore.gid,
        online: false,
    })
}

/// Makes a file that is whole or not there.
fn whole<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T, BundleError>,
) -> Result<T, BundleError> {
    let failed = |source| BundleError::File {
        path: path.to_owned(),
        source,
    };
    // A pipe or a device is written as it is: the rename would replace it.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let mut file = File::options().write(true).open(path).map_err(failed)?;
        return write(&mut file);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.part"));
    // One that a killed export has left, or that another user has made, such as a link.
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let mut options = File::options();
    let options = options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&partial).map_err(failed)?;
    let written = write(&mut file).and_then(|written| {
        file.sync_all().map_err(failed)?;
        fs::rename(&partial, path).map_err(failed)?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(failed).map(|()| written)
    });
    if written.is_err() {
        // The error says why; the next export removes it.
        drop(fs::remove_file(&partial));
    }
    written
}

/// Reads a bundle.
pub(super) fn import(selector: &Selector, what: &Import) -> anyhow::Result<End> {
    let from = match what.from.as_os_str() == "-" {
        true => "the bundle".to_owned(),
        false => what.from.display().to_string(),
    };
    let stream: Box<dyn Read> = match what.from.as_os_str() == "-" {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(&what.from).with_context(|| from.clone())?),
    };
    let mut stream = BufReader::with_capacity(BUFFER, stream);
    if what.verify {
        return verify(&from, stream);
    }
    root()?;
    // A folder is open for each level of the datastore.
    limits::raise().context("cannot raise the limit on open descriptors")?;
    // The head says which tenant it is, and is read again with the rest.
    let mut begun = Vec::new();
    let head = bundle::head(Copying(&mut stream, &mut begun))
        .map_err(clean)
        .with_context(|| from.clone())?;
    let tenant = match &what.name {
        Some(name) => name.clone(),
        None => head.tenant.parse().context("the bundle has a wrong name")?,
    };
    let stream = io::Cursor::new(begun).chain(stream);
    let config = edit::manifest(selector)?;
    let entry = entry::with(&head.entry, &what.ip)?;
    let place = Place::find(&config, &tenant, &entry)?;
    if place.is_known && !what.ip.is_empty() {
        bail!(
            "{tenant}: not imported: its entry in {} has the address, so --ip would change nothing: leave it out, or \
             `tenantd remove {tenant}` first",
            config.display()
        );
    }
    let mut shown = Shown::new(&format!("{tenant}: imported"));
    let what = bundle::Import {
        plan: &place.plan.datastore,
    };
    let imported = bundle::import(&what, stream, &mut |counts| shown.show(counts));
    shown.end();
    let Imported { head: _, counts } = imported
        .map_err(clean)
        .with_context(|| format!("{tenant}: not imported"))?;
    let (counts, source) = (shown::text(counts), place.plan.datastore.source.display());
    println!("{tenant}: imported {counts} into {source}");
    let end = match place.is_known {
        true => End::Done,
        false => add(selector, &tenant, &entry).with_context(|| {
            format!(
                "{tenant}: its datastore is in {source}, but its entry is not in the manifest: correct the cause, then \
                 import it again"
            )
        })?,
    };
    bundle::done(&place.plan.datastore)?;
    Ok(end)
}

/// A stranger may have chosen the names of files.
fn clean(error: BundleError) -> anyhow::Error {
    let text = format!("{:#}", anyhow::Error::from(error));
    anyhow::anyhow!(plain(&text, usize::MAX))
}

/// Checks a bundle.
fn verify(from: &str, stream: impl Read) -> anyhow::Result<End> {
    let mut shown = Shown::new(&format!("{from}: checked"));
    let checked = bundle::verify(stream, &mut |counts| shown.show(counts));
    shown.end();
    let Imported { head, counts } = checked.map_err(clean).with_context(|| from.to_owned())?;
    let Head {
        app,
        tenant,
        host,
        made,
        ..
    } = head;
    let counts = shown::text(counts);
    let text = format!("{from}: intact: {app}/{tenant} of {host}, {made:.0}, {counts}");
    println!("{}", plain(&text, usize::MAX));
    Ok(End::Done)
}

/// Adds the tenant to the manifest, and reloads.
fn add(
    selector: &Selector,
    tenant: &TenantName,
    entry: &[(String, String)],
) -> anyhow::Result<End> {
    let show = Show {
        quiet: false,
        json: false,
    };
    let wait = Wait {
        no_wait: false,
        show,
    };
    edit::add(selector, tenant, entry, wait)
}

/// Where a tenant is imported to.
struct Place {
    plan: TenantPlan,
    /// Whether the manifest has it.
    is_known: bool,
}

impl Place {
    /// The plan of the tenant, with the entry of the bundle if the manifest has none.
    fn find(
        config: &Path,
        tenant: &TenantName,
        entry: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let (plan, is_known) = edit::planned(config, tenant, entry)?;
        let found = plan.tenants.into_iter().find(|it| it.name == *tenant);
        let plan = found.with_context(|| format!("{tenant}: not in the manifest"))?;
        if !is_known {
            entry::check(config, tenant, entry)?;
        }
        Ok(Self { plan, is_known })
    }
}

pub(super) fn root() -> anyhow::Result<()> {
    match rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => bail!("permission denied: this needs root: try again with sudo"),
    }
}

/// A stream of which a copy is kept.
struct Copying<'a, R: Read>(&'a mut R, &'a mut Vec<u8>);

impl<R: Read> Read for Copying<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}
