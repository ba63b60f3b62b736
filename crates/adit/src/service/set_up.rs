//! `adit setup`: checks, installs, waits, and says how the tunnel is used.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_core::Port;
use adit_service::unit::{self, Manager};
use adit_service::{Began, Installer, Linger, Place, Text, TunnelReport, TunnelSettings};
use serde::Serialize;

use super::arguments;
use super::checks::{Check, Installed, Tell, Wanted};
use super::installer;
use super::pins::{self, Judge};
use super::variables::Variables;
use crate::failure::Failure;
use crate::oneoff::{LocalService, ServerAddress, login_name};
use crate::output::Output;
use crate::shell;
use crate::signals::Signals;
use crate::terminal::Terminal;

/// A tunnel that was checked is up in a second or two. One that is not by then goes on trying, and is told so.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked for.
pub(crate) struct Order {
    pub(crate) port: Port,
    pub(crate) bastion: ServerAddress,
    pub(crate) key: PathBuf,
    pub(crate) target: LocalService,
    pub(crate) bind: String,
    pub(crate) place: Place,
    pub(crate) cron: bool,
    /// Fingerprints that were compared before.
    pub(crate) accepted: Vec<String>,
    /// A person may be asked about the bastion's host key.
    pub(crate) may_ask: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Done {
    pub(crate) tunnel: TunnelReport,
    pub(crate) checks: Vec<Check>,
    pub(crate) reach: String,
    /// Services of this user outlive a logout, and did not before.
    pub(crate) lingers_from_now: bool,
}

pub(crate) async fn run(arguments: arguments::SetUp) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let output = Output::new(arguments.common.json);
    let variables = Variables::load(arguments.common.env_file.as_deref())?;
    let place = match (arguments.cron, arguments.scope.place()) {
        (true, _) => Place::Supervised,
        (false, place) => place.unwrap_or(Place::System),
    };
    let order = Order {
        port: arguments.port,
        bastion: variables.bastion(arguments.bastion)?,
        key: variables.secret_key(arguments.secret_key)?,
        target: arguments.target,
        bind: arguments.bind,
        place,
        cron: arguments.cron,
        accepted: arguments.accept_host_key,
        may_ask: true,
    };
    if arguments.print {
        return print(&order, output).await;
    }
    let tell = |check: &Check| match output.is_json() {
        true => Ok(()),
        false => output.answer(check, |check| format!("✓ {:<10} {}", check.check, check.told)),
    };
    let mut tell_each = |told: Check| tell(&told);
    let checked = tokio::select! {
        checked = Box::pin(check(&order, &mut tell_each)) => checked?,
        () = signals.stop() => return Err(Failure::Interrupted),
    };
    // Half of it would be neither here nor there: somebody who is tired of waiting waits these few moments.
    let begun = checked.install(&order).await?;
    tell(&begun.installed)?;
    let done = tokio::select! {
        done = begun.finish(&order) => done?,
        () = signals.stop() => return Err(Failure::Interrupted),
    };
    output.answer(&done, |done| told(done, output))?;
    match done.tunnel.is_active() {
        true => Ok(()),
        false => Err(Failure::NotUpYet { port: order.port, why: done.tunnel.last_error }),
    }
}

/// Checks, installs, and waits until the tunnel is up. What is installed and does not come up is no error here.
pub(crate) async fn set_up(order: &Order) -> Result<Done, Failure> {
    let checked = Box::pin(check(order, &mut |_| Ok(()))).await?;
    checked.install(order).await?.finish(order).await
}

/// All of it holds.
struct Checked {
    installer: Installer,
    program: PathBuf,
    settings: TunnelSettings,
    checks: Vec<Check>,
}

async fn check(order: &Order, tell: Tell<'_>) -> Result<Checked, Failure> {
    let (installer, program) = (installer(), program()?);
    installer.check(order.place, order.cron, order.port, &program).await?;
    let mut wanted = order.wanted()?;
    wanted.installed = order.installed(&installer, wanted.address()?.as_str()).await?;
    let judge = Judge { accepted: order.accepted.clone(), terminal: order.may_ask.then(Terminal::default) };
    let mut checks = Vec::new();
    let mut tell = |check: Check| {
        checks.push(check.clone());
        tell(check)
    };
    let settings = wanted.check(judge, &mut tell).await?;
    Ok(Checked { installer, program, settings, checks })
}

/// It is there, and comes up.
struct Begun {
    checked: Checked,
    began: Began,
    installed: Check,
}

impl Checked {
    async fn install(self, order: &Order) -> Result<Begun, Failure> {
        let began = self.installer.install(order.place, order.cron, &self.settings, &self.program).await?;
        let told = match order.place.manager() {
            Some(_) => format!("{} is written, enabled and started", unit::name(order.port)),
            None if order.cron => {
                "a process in the background keeps it up, and cron starts that with the machine".to_owned()
            }
            None => "a process in the background keeps it up".to_owned(),
        };
        Ok(Begun { checked: self, began, installed: Check { check: "installed", told } })
    }
}

impl Begun {
    async fn finish(self, order: &Order) -> Result<Done, Failure> {
        let Self { checked: Checked { installer, settings, mut checks, .. }, began, installed } = self;
        checks.push(installed);
        let report = installer.until_active(order.port, order.place, began.replaced, PATIENCE).await;
        let tunnel = report.ok_or(Failure::NoTunnel { port: order.port })?;
        let reach = reach(&settings, order);
        Ok(Done { tunnel, checks, reach, lingers_from_now: began.lingers_from_now })
    }
}

impl Order {
    fn wanted(&self) -> Result<Wanted, Failure> {
        // Before the file is looked for, so that what is strange about it is told.
        Text::new("path of the private key", self.key.to_string_lossy())?;
        let key = in_its_folder(&self.key).map_err(|source| Failure::KeyFile { path: self.key.clone(), source })?;
        Ok(Wanted {
            port: self.port,
            bastion: self.bastion.clone(),
            key: Text::path("path of the private key", &key)?,
            target: self.target,
            bind: Text::word("address to listen at", self.bind.as_str())?,
            installed: Installed::Nothing,
        })
    }

    /// What of the same port is installed already. In another place it stays, and is told.
    async fn installed(&self, installer: &Installer, address: &str) -> Result<Installed, Failure> {
        let mut installed = Installed::Nothing;
        for other in installer.find(self.port, None).await {
            if other.scope != self.place {
                return Err(Failure::ElsewhereAlready { port: self.port, place: other.scope.to_string() });
            }
            let is_same = other.bastion.as_deref() == Some(address);
            installed = match (other.is_active(), is_same) {
                (true, true) => Installed::Same,
                (true, false) => Installed::Up,
                (false, _) => Installed::Nothing,
            };
        }
        Ok(installed)
    }
}

/// The path of a file without links and `..` in its folder's, of which units take none. A link that is the file itself stays: it may be
/// turned to another key.
fn in_its_folder(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => Ok(folder.canonicalize()?.join(name)),
        _ => Ok(path),
    }
}

/// What a unit runs: this program, by the name by which it was started where that leads to it. Package managers turn a link to each
/// new version, and remove the old one.
pub(crate) fn program() -> Result<PathBuf, Failure> {
    let here = std::env::current_exe().map_err(Failure::Runtime)?;
    let typed = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let named = match typed.components().count() {
        1 => std::env::var_os("PATH").and_then(|path| {
            std::env::split_paths(&path).map(|folder| folder.join(&typed)).find(|found| found.is_file())
        }),
        _ => std::path::absolute(&typed).ok(),
    };
    // As units name it: without `..`.
    let named = named.and_then(|path| in_its_folder(&path).ok());
    let file = |path: &Path| std::fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    match (named, file(&here)) {
        (Some(named), Some(this)) if file(&named) == Some(this) => Ok(named),
        (_, Some(_)) => Ok(here),
        (_, None) => Err(Failure::ProgramGone { path: here }),
    }
}

async fn print(order: &Order, output: Output) -> Result<(), Failure> {
    let (installer, program) = (installer(), program()?);
    let wanted = order.wanted()?;
    wanted.address()?;
    let host_keys = pins::known(&pins::places()?, &wanted.bastion.host, wanted.ssh_port()).await?;
    if host_keys.is_empty() {
        eprintln!(
            "adit: no host key of {} is known yet, so none is in it: without one the tunnel takes no server",
            wanted.bastion.host
        );
    }
    let settings = wanted.settings(host_keys)?;
    let text = match order.place.manager() {
        Some(manager) => installer.unit_text(manager, &settings, &program)?,
        None if order.cron => format!("{}\n", installer.cron_line(order.port, &program)?),
        None => format!("{}\n", command(&program, &settings)),
    };
    let path = order.place.manager().map(|manager| where_to(manager, order.port));
    let shown = Printed { text, path };
    output.answer(&shown, |shown| shown.text.trim_end().to_owned())
}

#[derive(Serialize)]
struct Printed {
    text: String,
    path: Option<String>,
}

fn where_to(manager: Manager, port: Port) -> String {
    let folder = match manager {
        Manager::System => "/etc/systemd/system",
        Manager::User => "~/.config/systemd/user",
    };
    format!("{folder}/{}", unit::name(port))
}

/// What the background process runs.
fn command(program: &Path, settings: &TunnelSettings) -> String {
    let words = settings.arguments(Some(&settings.key));
    let words = std::iter::once(shell::quoted_path(program)).chain(words.iter().map(|word| shell::quoted(word)));
    words.collect::<Vec<_>>().join(" ")
}

/// How others use it.
fn reach(settings: &TunnelSettings, order: &Order) -> String {
    const SSH: u16 = 22;
    /// Whom everybody logs in as at a jump host of ours, which publishes what it forwards at an address of its own.
    const MEMBER: &str = "tunnel";
    let ServerAddress { user, host, .. } = &order.bastion;
    let (port, target) = (settings.port, order.target);
    let is_public = user.as_deref() == Some(MEMBER) || order.bind == "*";
    let login = |host: &str| shell::quoted(&format!("{}@{host}", person().unwrap_or_else(|| "you".to_owned())));
    // What the bastion's own loopback is called there.
    let bind = match order.bind.as_str() {
        "127.0.0.1" | "::1" => "localhost",
        other => other,
    };
    match (is_public, target.port.get()) {
        (true, SSH) => format!("ssh -p {port} {}", login(host)),
        (true, _) if host.contains(':') => format!("[{host}]:{port}"),
        (true, _) => format!("{host}:{port}"),
        (false, SSH) => format!("ssh -J {} -p {port} {}", shell::quoted(settings.bastion.as_str()), login(bind)),
        (false, other) => {
            let bind = if bind.contains(':') { format!("[{bind}]") } else { bind.to_owned() };
            let bastion = settings.bastion.as_str();
            let (login, ssh_port) = bastion.rsplit_once(':').unwrap_or((bastion, "22"));
            format!("ssh -N -L {other}:{bind}:{port} -p {ssh_port} {}", shell::quoted(&login.replace(['[', ']'], "")))
        }
    }
}

/// Who sits here, also under sudo.
fn person() -> Option<String> {
    std::env::var("SUDO_USER").ok().filter(|user| !user.is_empty()).or_else(login_name)
}

fn told(done: &Done, output: Output) -> String {
    let Done { tunnel, reach, .. } = done;
    let (port, target) = (tunnel.port, tunnel.target.as_deref().unwrap_or_default());
    let mut lines = Vec::new();
    if tunnel.is_active() {
        lines.push(format!("✓ {:<10} port {port} of {} leads to {target} here", "connected", bastion_of(tunnel)));
        lines.push(format!("\nFrom elsewhere:  {}", output.bold(reach)));
    }
    lines.extend(lasting(done));
    lines.push(format!(
        "How it is:       adit status -p {port}\nNo more of it:   {}adit remove -p {port}",
        sudo(tunnel)
    ));
    lines.join("\n")
}

/// What is to be known about how long it lasts.
fn lasting(Done { tunnel, lingers_from_now, .. }: &Done) -> Option<String> {
    let told = match (tunnel.scope, tunnel.linger) {
        (Place::User, Some(Linger::Enabled)) => {
            let undone = if *lingers_from_now { " That is new: `loginctl disable-linger` undoes it." } else { "" };
            format!("linger: enabled, so it runs from boot on, whether you are logged in or not.{undone}")
        }
        (Place::User, _) => {
            let uid = rustix::process::geteuid().as_raw();
            let user = login_name().map_or_else(|| uid.to_string(), |user| shell::quoted(&user));
            format!(
                "linger: disabled, so it runs while you are logged in. To have it run from boot on, an administrator types\n  \
                 sudo loginctl enable-linger {user}"
            )
        }
        (Place::Supervised, _) => {
            let begins = if tunnel.cron { "" } else { " It ends with the machine: --cron starts it with the machine." };
            format!("It outlives a logout, unless this machine ends what people leave running.{begins}")
        }
        (Place::System, _) => return None,
    };
    Some(told)
}

fn bastion_of(tunnel: &TunnelReport) -> &str {
    tunnel.bastion.as_deref().unwrap_or("the bastion")
}

fn sudo(tunnel: &TunnelReport) -> &'static str {
    if tunnel.scope == Place::System { "sudo " } else { "" }
}
