//! A plain relay, as it is written in a few lines of tokio: what is measured beside it costs more by what it does more.
//! This program is the relay when it is called with [`WORD`], so that it is a process of its own like the others.

use std::env;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::failure::{Doing, Failure};
use crate::forwarding::Way;
use crate::process::Process;

/// What to type for being a relay; an address to relay to follows.
pub(crate) const WORD: &str = "relay";

/// A relay that runs. Dropping it ends it.
pub(crate) struct Relay {
    port: u16,
    process: Process,
    _folder: TempDir,
}

impl Relay {
    /// Starts one, and waits until it listens.
    pub(crate) fn start(service: SocketAddr) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("adit-bench-").tempdir().doing("make a folder")?;
        let mut command = Command::new(env::current_exe().doing("find this program")?);
        command.args([WORD, &service.to_string()]);
        let mut process = Process::start(&mut command, folder.path().join("log"))?;
        let address = process.await_start(|process| process.said().strip_suffix('\n')?.parse::<SocketAddr>().ok())?;
        Ok(Self { port: address.port(), process, _folder: folder })
    }

    /// Where clients connect, and who carries them.
    pub(crate) fn way(&self) -> Way {
        Way { port: self.port, listener: self.process.tree(), transit: None, endpoint: None }
    }
}

/// Is a relay, and says where; until the process is ended.
pub(crate) fn run(service: SocketAddr) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().doing("start a runtime")?;
    runtime.block_on(serve(service)).doing("relay")
}

async fn serve(service: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (mut client, _) = listener.accept().await?;
        tokio::spawn(async move {
            client.set_nodelay(true)?;
            let mut target = TcpStream::connect(service).await?;
            target.set_nodelay(true)?;
            copy_bidirectional(&mut client, &mut target).await
        });
    }
}
