//! A session channel that holds a client and does nothing for it.
//!
//! `ssh -R` without `-N` asks for a terminal and a shell and ends when it is refused either, so both are granted: the client
//! gets one line of greeting, and from then on only Ctrl-C on its terminal means anything. There is no code behind this that
//! could start a program. Everything else a session can ask for (RFC 4254 §6) is refused, and where a client would wait for
//! ever on the refusal alone (exec, subsystem) the channel is closed with it.

use crate::wire::{Reader, WireError};

/// What Ctrl-C is on a terminal in raw mode.
const END_OF_TEXT: u8 = 0x03;
/// What a shell reports for a program ended by SIGINT: 128 + 2.
pub(crate) const EXIT_INTERRUPTED: u32 = 130;

/// What a client reports for a command that was refused.
pub(crate) const EXIT_REFUSED: u32 = 1;

/// Where a session channel stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holding {
    has_terminal: bool,
    has_shell: bool,
}

/// What to do about a channel request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Say yes.
    Grant,
    /// Say yes, and greet. True: on a terminal, where a line ends in `\r\n`.
    GrantAndGreet { on_terminal: bool },
    /// Say no.
    Refuse,
    /// Say no and close the channel; the text names what was refused.
    RefuseAndClose(&'static str),
}

impl Holding {
    /// Decides about one channel request by its name.
    pub(crate) fn handle_request(&mut self, name: &[u8], fields: &mut Reader<'_>) -> Result<Verdict, WireError> {
        Ok(match name {
            b"pty-req" if !self.has_terminal => {
                fields.string()?;
                self.has_terminal = true;
                Verdict::Grant
            }
            b"shell" if !self.has_shell => {
                self.has_shell = true;
                Verdict::GrantAndGreet { on_terminal: self.has_terminal }
            }
            b"exec" => Verdict::RefuseAndClose("exec"),
            b"subsystem" => Verdict::RefuseAndClose("subsystem"),
            _ => Verdict::Refuse,
        })
    }

    /// Whether what was typed asks to leave.
    pub(crate) fn is_interrupt(self, typed: &[u8]) -> bool {
        self.has_terminal && typed.contains(&END_OF_TEXT)
    }
}
