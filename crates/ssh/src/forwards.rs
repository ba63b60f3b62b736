//! The remote forwards a client asked for and was granted: only from them may a server announce connections (RFC 4254 §7.2).

/// One forward: its address as we asked for it, and its port, the allocated one where any was asked for.
#[derive(Debug)]
struct Forward {
    address: String,
    port: u16,
}

/// All forwards of one connection.
#[derive(Debug, Default)]
pub(crate) struct Forwards {
    granted: Vec<Forward>,
}

impl Forwards {
    pub(crate) fn grant(&mut self, address: String, port: u16) {
        self.granted.push(Forward { address, port });
    }

    /// Takes one back.
    pub(crate) fn withdraw(&mut self, address: &str, port: u16) {
        self.granted.retain(|forward| forward.address != address || forward.port != port);
    }

    /// The forward a server means. OpenSSH and most others echo the address as it was asked for; some name the one they listen
    /// on, so that where the address fits none, the port alone decides.
    pub(crate) fn find(&self, address: &[u8], port: u32) -> Option<(&str, u16)> {
        let at_port = || self.granted.iter().filter(|forward| u32::from(forward.port) == port);
        let forward = at_port().find(|forward| forward.address.as_bytes() == address).or_else(|| at_port().next())?;
        Some((&forward.address, forward.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_decides_and_else_the_port() {
        let mut forwards = Forwards::default();
        for (address, port) in [("localhost", 80), ("", 80), ("*", 81)] {
            forwards.grant(address.into(), port);
        }
        assert_eq!(forwards.find(b"", 80), Some(("", 80)));
        assert_eq!(forwards.find(b"0.0.0.0", 81), Some(("*", 81)));
        assert_eq!(forwards.find(b"*", 82), None);
        assert_eq!(forwards.find(b"*", 81 + (1 << 16)), None);
        forwards.withdraw("localhost", 80);
        assert_eq!(forwards.find(b"localhost", 80), Some(("", 80)));
        forwards.withdraw("*", 81);
        assert_eq!(forwards.find(b"*", 81), None);
    }
}
