//! What can be typed behind `adit agent`.

use std::path::PathBuf;

use clap::Args;

use super::settings::ListenAddress;
use crate::arguments::LogFormat;

const HELP: &str = "\
Examples:
  adit agent
      runs until Ctrl-C; tunnels that start with the agent come up
  adit open
      its page, in your browser
  adit profile add me --user alice --key ~/.ssh/id_ed25519
  adit tunnel add web --via bastion --profile me -L 8080:intranet:80
  adit tunnel start web
      then open http://localhost:8080
  curl -H \"Authorization: Bearer $(cat DIR/token)\" http://127.0.0.1:7070/tunnels
      the same for programs; /openapi.json describes it

Everything that is saved is in the data folder, for you alone: the records, the host keys, the secrets (encrypted), the token that
programs show, and addresses.json, which says where the agent answers while it runs.

In the configuration file, under `agent:` (flags win over the environment, the environment over the file):
  agent:
    listen: 127.0.0.1:7070
    data: /var/lib/adit-agent
    log: info
    host_keys: ask             # or strict, accept-new; set anew at each start
    controller_mode: false     # likewise

Exit codes: 0 ended by Ctrl-C or SIGTERM, 1 failed, 2 bad input, 78 bad configuration file.
With --json the start is one line on stdout, and an error is one line on stderr: {\"error\": \"a sentence\", \"code\": \"a-stable-name\"}";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The folder with all that it keeps [default: in the XDG state folder]
    #[arg(long, value_name = "DIR", env = "ADIT_AGENT_DATA")]
    pub(crate) data: Option<PathBuf>,

    /// Where the API answers, on loopback; port 0 lets the system choose [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDR:PORT", env = "ADIT_AGENT_LISTEN")]
    pub(crate) listen: Option<ListenAddress>,

    /// The configuration file [default: adit/config.yaml in the XDG configuration folder, if it is there]
    #[arg(long, value_name = "FILE", env = "ADIT_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// The file with the passphrase of the secrets, or - for standard input [default: ask, where there is a terminal]
    #[arg(long, value_name = "FILE", env = "ADIT_AGENT_PASSPHRASE_FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// How the log on stderr is written; ADIT_LOG says what is in it, as `debug` or `adit_agent=trace`
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, env = "ADIT_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}
