//! `adit open`: lets a browser in to the agent's page. The address has a code in it that is good once; the agent's token is in no address.

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit_api::agent::view::PageCode;
use clap::Args;
use serde::Serialize;
use tokio::process::Command;
use tokio::time::timeout;

use super::{Asker, Common, help};
use crate::failure::Failure;

const HELP: &str = help!(
    "Examples:
  adit open
      opens the agent's page in your browser
  adit open --print
      prints the address instead, for a browser of your choice

The address lets one browser in, once and within ten minutes; only one of your own user. Ask again for another."
);

/// Whoever opens addresses hands them to a browser and ends. One that goes on for longer has become the browser.
const HANDING_OVER: Duration = Duration::from_secs(5);

/// `adit open`
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Print the address and open nothing
    #[arg(long)]
    print: bool,
}

/// Where the page is, for one browser.
#[derive(Serialize)]
struct Address {
    url: String,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let asker = Asker::new(&arguments.common)?;
    let PageCode { code, .. } = asker.client.order("/page/codes").await?;
    let address = Address { url: format!("{}/?{}#/enter?code={code}", asker.client.url(), fresh()) };
    if arguments.print || asker.output.is_json() {
        return asker.output.answer(&address, |address| address.url.clone());
    }
    match open(&address.url).await {
        Ok(()) => asker.output.answer(&address, |_| "The page opens in your browser.".to_owned()),
        Err(why) => {
            asker.output.notice(&address, &format!("{why}; open this address yourself, it is good once:"))?;
            asker.output.answer(&address, |address| address.url.clone())
        }
    }
}

/// An address that no cache of the browser has: somebody else may have had this port before, and have left a page of theirs there.
fn fresh() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// Hands the address to the desktop. The error is the beginning of a sentence.
async fn open(url: &str) -> Result<(), String> {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    if !has_desktop() {
        return Err("there is no desktop here".to_owned());
    }
    let mut command = Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A browser outlives the terminal that it was asked for from.
    command.process_group(0);
    let mut opener = command.spawn().map_err(|error| format!("{program} cannot be run ({error})"))?;
    match timeout(HANDING_OVER, opener.wait()).await {
        Err(_) => Ok(()),
        Ok(ended) if ended.as_ref().is_ok_and(ExitStatus::success) => Ok(()),
        Ok(_) => Err(format!("{program} could not open a browser")),
    }
}

fn has_desktop() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(target_os = "macos") || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}
