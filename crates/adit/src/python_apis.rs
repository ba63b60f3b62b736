//! `adit list-python-apis`: what the Python module of the same name has.
//!
//! The module is `python/adit`. A test of its wheel asks both, so that neither can say something else.

use clap::{ArgAction, Args};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::Output;

/// `adit list-python-apis`
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Print signatures too; twice: also what each does
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    /// Print JSON, with all of it
    #[arg(long)]
    pub(crate) json: bool,
}

/// Something that the module has.
#[derive(Debug, Serialize)]
struct Api {
    name: &'static str,
    /// As it stands behind the name in Python.
    signature: &'static str,
    /// What its documentation begins with.
    summary: &'static str,
    /// The rest of that, in paragraphs.
    details: &'static str,
}

const APIS: [Api; 5] = [
    Api {
        name: "setup",
        signature: "(port: int, bastion_server: str | None = None, secret_key_path: str | os.PathLike[str] | None = None, *, \
                    target: str | None = None, bind: str | None = None, \
                    scope: Literal['system', 'user', 'supervised', 'cron'] = 'system', accept_host_key: str | None = None, \
                    env_file: str | os.PathLike[str] | None = None) -> SetupResult",
        summary: "Keep a port of a bastion leading to this machine, from boot on.",
        details: "The bastion is ``[user@]host[:port]``; without it, and without a key, the variables ADIT_BASTION_SERVER and \
                  ADIT_SECRET_KEY_PATH count. The port leads to ``target`` (``localhost:22``). The system's services \
                  (``scope=\"system\"``) take root; ``\"user\"`` is a service of your own, ``\"supervised\"`` a process in the \
                  background, and ``\"cron\"`` one that comes back after a reboot.",
    },
    Api {
        name: "status",
        signature: "(port: int | None = None, *, scope: Literal['system', 'user', 'supervised'] | None = None) -> StatusResult",
        summary: "Tell how the tunnel of a port is, or all of them.",
        details: "Success means that they are connected: of a tunnel that is not, exit code 3 and ``tunnels`` say so; 4 says that \
                  there is none.",
    },
    Api {
        name: "remove",
        signature: "(port: int, *, scope: Literal['system', 'user', 'supervised'] | None = None) -> RemoveResult",
        summary: "Take the tunnel of a port away, with all that was made for it.",
        details: "Exit code 4 says that there was none.",
    },
    Api {
        name: "get_version",
        signature: "() -> str",
        summary: "Ask the program for its version, which is that of this module where both came together.",
        details: "",
    },
    Api { name: "__version__", signature: ": str", summary: "The version of the module.", details: "" },
];

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    Output::new(arguments.json).answer(&APIS, |all| told(all, arguments.verbose))
}

fn told(all: &[Api], verbose: u8) -> String {
    let lines = |api: &Api| {
        let Api { name, signature, summary, details } = api;
        match verbose {
            0 => format!("adit.{name}"),
            1 => format!("adit.{name}{signature}"),
            _ if details.is_empty() => format!("adit.{name}{signature}\n    {summary}\n"),
            _ => format!("adit.{name}{signature}\n    {summary}\n    {details}\n"),
        }
    };
    let all: Vec<String> = all.iter().map(lines).collect();
    all.join("\n").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_tells_more() {
        let texts = [0, 1, 2].map(|verbose| told(&APIS, verbose));
        assert_eq!(texts[0], "adit.setup\nadit.status\nadit.remove\nadit.get_version\nadit.__version__");
        assert!(texts[1].contains("adit.get_version() -> str\nadit.__version__: str"), "{}", texts[1]);
        assert!(texts[2].contains("__version__: str\n    The version of the module."), "{}", texts[2]);
        assert!(texts[2].contains("\n    Exit code 4 says that there was none.\n\n"), "{}", texts[2]);
    }
}
