//! A tunnel as a systemd unit, and back.
//!
//! Every value that somebody typed stands in one word of `ExecStart=`, quoted as systemd.service(5) and systemd.syntax(7) say, or is the
//! whole of a value where nothing is quoted. [`Text`] has no line feed in it, so none of them can begin a directive.

use std::path::Path;

use adit_core::Port;

use crate::settings::{BadText, KEY_CREDENTIAL, Text, TunnelSettings};

/// How long systemd waits for a sign of life before it ends a tunnel and starts it anew, in seconds. The program gives one twice in this
/// time.
const WATCHDOG: u32 = 60;

/// How long a start may take, in seconds: longer than the pause after a failure that somebody has to act on, so that it is told meanwhile.
const START: u32 = 90;

/// Folders that a system service does not see. A program that lies in one of them is shown to its own unit alone.
const HIDDEN: [&str; 5] = ["/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/"];

/// The program that a unit runs: an absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program(Text);

impl Program {
    /// # Errors
    /// [`BadText`] where the path has anything but letters, digits and `/._+-@` in it: systemd reads the path of a program by other rules than
    /// its arguments, and no two of its releases agree on the rest.
    pub fn new(path: &Path) -> Result<Self, BadText> {
        let text = Text::path("path of adit", path)?;
        let stranger = text.as_str().chars().find(|c| !c.is_ascii_alphanumeric() && !"/._+-@".contains(*c));
        match stranger {
            Some(c) => Err(text.refused("path of adit", c)),
            None => Ok(Self(text)),
        }
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// Which manager a unit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// The system's.
    System,
    /// A user's own.
    User,
}

/// `adit-tunnel-PORT.service`
#[must_use]
pub fn name(port: Port) -> String {
    format!("{PREFIX}{port}{SUFFIX}")
}

/// `autossh-tunnel-PORT.service`, by which scripts may know it.
#[must_use]
pub fn alias(port: Port) -> String {
    format!("autossh-tunnel-{port}{SUFFIX}")
}

/// The port in the name of a unit of ours.
#[must_use]
pub fn port_of(name: &str) -> Option<Port> {
    let port: Port = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()?;
    // `+2222` and `02222` are ports too, and not how we write them.
    (self::name(port) == name).then_some(port)
}

/// How every unit of ours begins.
pub(crate) const MARK: &str = "# Made by `adit setup`";

const PREFIX: &str = "adit-tunnel-";
const SUFFIX: &str = ".service";

/// The text of the unit.
#[must_use]
pub fn render(settings: &TunnelSettings, program: &Program, manager: Manager) -> String {
    let TunnelSettings { port, key, .. } = settings;
    let words: Vec<String> = settings.arguments(None).iter().map(|word| quoted(word)).collect();
    let (order, install, hardening) = match manager {
        Manager::System => (SYSTEM_ORDER, "multi-user.target", system_hardening(program)),
        Manager::User => (USER_ORDER, "default.target", USER_HARDENING.to_owned()),
    };
    format!(
        "{MARK}. `adit status -p {port}` tells how it is, `adit remove -p {port}` takes it away.\n\
         [Unit]\n\
         Description=Port {port} of {bastion} leads to {target} here (adit)\n\
         Documentation=man:adit-setup(1)\n\
         # A tunnel that cannot come up holds up nothing: by default a target waits for what it wants.\n\
         DefaultDependencies=no\n\
         {order}\
         Conflicts=shutdown.target\n\
         Before=shutdown.target\n\
         # However often it fails, it is started again.\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         # Started is what really forwards: the program says so when the bastion holds the port. A start that takes longer is begun anew, so\n\
         # that a machine whose bastion is away does not count as starting for as long.\n\
         Type=notify\n\
         NotifyAccess=main\n\
         TimeoutStartSec={START}\n\
         WatchdogSec={WATCHDOG}\n\
         ExecStart={program} {arguments}\n\
         LoadCredential={KEY_CREDENTIAL}:{key}\n\
         RuntimeDirectory={PREFIX}{port}\n\
         RuntimeDirectoryMode=0755\n\
         Restart=always\n\
         RestartSec=3\n\
         TimeoutStopSec=10\n\
         {hardening}\
         \n\
         [Install]\n\
         WantedBy={install}\n\
         Alias={alias}\n",
        bastion = without_specifiers(settings.bastion.as_str()),
        target = without_specifiers(settings.target.as_str()),
        program = program.as_str(),
        arguments = words.join(" "),
        key = without_specifiers(key.as_str()),
        alias = alias(*port),
    )
}

const SYSTEM_ORDER: &str = "\
Requires=sysinit.target
Wants=network-online.target
After=sysinit.target basic.target network-online.target nss-lookup.target
";

/// A user's manager knows no network-online.target.
const USER_ORDER: &str = "After=basic.target\n";

/// A user's manager may not do what needs rights; filters of system calls need none.
const USER_HARDENING: &str = "\
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077
";

/// It talks to the bastion and to a service of this machine, looks up names (which takes UNIX and netlink sockets), and hears when the network
/// changes (netlink). It needs nothing else.
fn system_hardening(program: &Program) -> String {
    let shown = HIDDEN.iter().any(|folder| program.as_str().starts_with(folder));
    let shown = if shown { format!("BindReadOnlyPaths={}\n", program.as_str()) } else { String::new() };
    format!(
        "DynamicUser=yes\n\
         {USER_HARDENING}\
         SystemCallFilter=~@privileged @resources\n\
         CapabilityBoundingSet=\n\
         AmbientCapabilities=\n\
         ProtectSystem=strict\n\
         ProtectHome=tmpfs\n\
         {shown}\
         PrivateTmp=yes\n\
         PrivateDevices=yes\n\
         PrivateUsers=yes\n\
         ProtectClock=yes\n\
         ProtectControlGroups=yes\n\
         ProtectHostname=yes\n\
         ProtectKernelLogs=yes\n\
         ProtectKernelModules=yes\n\
         ProtectKernelTunables=yes\n\
         ProtectProc=invisible\n\
         ProcSubset=pid\n\
         RemoveIPC=yes\n"
    )
}

/// What a unit of ours keeps up; `None` for a text that we did not write.
#[must_use]
pub fn parse(text: &str) -> Option<TunnelSettings> {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let key = value("LoadCredential")?.strip_prefix(KEY_CREDENTIAL)?.strip_prefix(':')?.replace("%%", "%");
    let words = unquoted(value("ExecStart")?)?;
    TunnelSettings::from_arguments(words.get(1..)?, Some(&key))
}

/// One word of a command line that systemd reads: no specifiers, no variables, no separators in it.
fn quoted(word: &str) -> String {
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('"');
    for c in word.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' | '$' => quoted.extend([c, c]),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// The words of a line that [`quoted`] wrote; the first may be plain.
fn unquoted(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        rest = rest.strip_prefix(' ').unwrap_or(rest);
        let Some(inside) = rest.strip_prefix('"') else {
            let end = rest.find(' ').unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            rest = &rest[end..];
            continue;
        };
        let mut word = String::new();
        let mut chars = inside.char_indices();
        loop {
            match chars.next()? {
                (end, '"') => {
                    words.push(word);
                    rest = &inside[end + 1..];
                    break;
                }
                (_, '\\') => word.push(chars.next()?.1),
                (_, c @ ('%' | '$')) => {
                    (chars.next()?.1 == c).then_some(())?;
                    word.push(c);
                }
                (_, other) => word.push(other),
            }
        }
    }
    Some(words)
}

/// A value in which systemd expands specifiers and nothing else.
fn without_specifiers(value: &str) -> String {
    value.replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(typed: &str) -> Text {
        Text::new("text", typed).unwrap()
    }

    fn settings() -> TunnelSettings {
        TunnelSettings {
            port: Port::new(2222).unwrap(),
            bastion: text("me@bastion:22"),
            target: text("localhost:22"),
            bind: text("127.0.0.1"),
            key: text("/home/me/.ssh/id_ed25519"),
            host_keys: vec![text("ssh-ed25519 AAAAC3")],
        }
    }

    fn program() -> Program {
        Program::new(Path::new("/usr/bin/adit")).unwrap()
    }

    #[test]
    fn a_unit_runs_adit_and_says_when_it_is_up() {
        let unit = render(&settings(), &program(), Manager::System);
        for line in [
            "Type=notify",
            "Restart=always",
            "RestartSec=3",
            "StartLimitIntervalSec=0",
            "WatchdogSec=60",
            "TimeoutStartSec=90",
            "LoadCredential=key:/home/me/.ssh/id_ed25519",
            "DynamicUser=yes",
            "WantedBy=multi-user.target",
            "Alias=autossh-tunnel-2222.service",
            r#"ExecStart=/usr/bin/adit "keep" "--port=2222" "--bastion=me@bastion:22" "--target=localhost:22" "--bind=127.0.0.1" "--host-key=ssh-ed25519 AAAAC3""#,
        ] {
            assert!(unit.lines().any(|found| found == line), "{line}\n{unit}");
        }
    }

    #[test]
    fn a_users_unit_starts_with_the_user() {
        let unit = render(&settings(), &program(), Manager::User);
        assert!(unit.contains("\nWantedBy=default.target\n") && !unit.contains("DynamicUser"), "{unit}");
    }

    #[test]
    fn a_program_in_a_home_is_shown_to_its_unit() {
        let program = Program::new(Path::new("/home/me/.cargo/bin/adit")).unwrap();
        let unit = render(&settings(), &program, Manager::System);
        assert!(unit.contains("\nBindReadOnlyPaths=/home/me/.cargo/bin/adit\n"), "{unit}");
        assert!(!render(&settings(), &self::program(), Manager::System).contains("BindReadOnlyPaths"));
    }

    #[test]
    fn a_program_has_a_plain_path() {
        for bad in ["/opt/my adit", "/opt/$adit", "/opt/%n", "/opt/a:b", "adit"] {
            assert!(Program::new(Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_of_ours_has_a_port() {
        assert_eq!(port_of("adit-tunnel-2222.service"), Port::new(2222));
        for other in
            ["adit-tunnel-0.service", "adit-tunnel-02.service", "adit-tunnel-70000.service", "adit-jumphost.service"]
        {
            assert_eq!(port_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_unit_of_somebody_else_is_none_of_ours() {
        for other in [
            "",
            "[Service]\nExecStart=/usr/bin/autossh -R 1:localhost:22 b\n",
            "ExecStart=/bin/adit \"keep\nLoadCredential=key:/k",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_value_becomes_a_directive(
            user in "[^\\s\\p{C}\u{2028}\u{2029}-]\\PC{0,20}[^\\s\\p{C}]",
            key in "/\\PC{0,30}[^\\s\\p{C}\\\\]",
            target in "[\"'\\\\%$ a-z;#=\\[\\]]{1,20}x",
        ) {
            prop_assume!(Text::new("t", target.as_str()).is_ok() && Text::new("u", user.as_str()).is_ok() && Text::new("k", key.as_str()).is_ok());
            let settings = TunnelSettings {
                bastion: text(&user), key: text(&key), target: text(&target), ..settings()
            };
            let unit = render(&settings, &program(), Manager::System);
            let plain = render(&self::settings(), &program(), Manager::System);
            let names = |unit: &str| -> Vec<String> {
                unit.lines().map(|line| line.split_once('=').map_or(line, |(name, _)| name).to_owned()).collect()
            };
            prop_assert_eq!(names(&unit), names(&plain));
            prop_assert_eq!(parse(&unit), Some(settings));
        }
    }
}
