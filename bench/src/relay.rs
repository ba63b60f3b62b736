//! Plain relays: what is measured beside them costs more by what it does more. This program is a relay when it is called with
//! [`WORD`], so that it is a process of its own like the others.

use std::env;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::process::Command;
use std::thread;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::failure::{Doing, Failure};
use crate::forwarding::Way;
use crate::process::Process;
use crate::report::Measured;
use crate::service::CHUNK;

/// What to type for being a relay; its way and an address to relay to follow.
pub(crate) const WORD: &str = "relay";

/// How bytes go from one socket to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copying {
    /// By the kernel alone, through a pipe: splice(2).
    Splice,
    /// Through 256 KiB, by a thread for each direction.
    Large,
    /// Through 8 KiB, as it is written in a few lines of tokio.
    Tokio,
}

impl Copying {
    /// In the order of a turn.
    pub(crate) const ALL: [Self; 3] = [Self::Splice, Self::Large, Self::Tokio];

    fn word(self) -> &'static str {
        match self {
            Self::Splice => "splice",
            Self::Large => "large",
            Self::Tokio => "tokio",
        }
    }

    /// The one of this word.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|copying| copying.word() == word)
    }
}

impl Measured for Copying {
    const OURS: Self = Self::Splice;
    const PEERS: &'static [Self] = &[Self::Large, Self::Tokio];

    fn name(self) -> &'static str {
        match self {
            Self::Splice => "splice",
            Self::Large => "copies of 256 KiB",
            Self::Tokio => "copies of 8 KiB",
        }
    }
}

/// A relay that runs. Dropping it ends it.
pub(crate) struct Relay {
    port: u16,
    process: Process,
    _folder: TempDir,
}

impl Relay {
    /// Starts one, and waits until it listens.
    pub(crate) fn start(copying: Copying, service: SocketAddr) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("adit-bench-").tempdir().doing("make a folder")?;
        let mut command = Command::new(env::current_exe().doing("find this program")?);
        command.args([WORD, copying.word(), &service.to_string()]);
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
pub(crate) fn run(copying: Copying, service: SocketAddr) -> Result<(), Failure> {
    match copying {
        Copying::Tokio => {
            let runtime = tokio::runtime::Runtime::new().doing("start a runtime")?;
            runtime.block_on(serve(service)).doing("relay")
        }
        Copying::Splice => serve_by_threads(service, splice_on).doing("relay"),
        Copying::Large => serve_by_threads(service, copy_on).doing("relay"),
    }
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

type Blocking = std::net::TcpStream;

/// A thread for each direction of each connection: as few calls as blocking sockets allow.
fn serve_by_threads(service: SocketAddr, carry: fn(&Blocking, &Blocking) -> io::Result<()>) -> io::Result<()> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    loop {
        let (client, _) = listener.accept()?;
        client.set_nodelay(true)?;
        let target = Blocking::connect(service)?;
        target.set_nodelay(true)?;
        for (from, to) in [(client.try_clone()?, target.try_clone()?), (target, client)] {
            thread::spawn(move || {
                // Whichever way it ended, the other end is to hear of it; it may have gone already.
                let _ = carry(&from, &to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
    }
}

fn copy_on(mut from: &Blocking, mut to: &Blocking) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(()),
            count => to.write_all(&chunk[..count])?,
        }
    }
}

fn splice_on(from: &Blocking, to: &Blocking) -> io::Result<()> {
    let (output, input) = pipe_with(PipeFlags::CLOEXEC)?;
    // The system may allow less; then it is a little slower.
    let _ = fcntl_setpipe_size(&input, CHUNK);
    loop {
        let mut left = splice(from, None, &input, None, CHUNK, SpliceFlags::MOVE)?;
        if left == 0 {
            return Ok(());
        }
        while left > 0 {
            left -= splice(&output, None, to, None, left, SpliceFlags::MOVE)?;
        }
    }
}
