//! What `ssh -G` answers: one setting in a line, its keyword in small letters.

use adit_core::ForwardKind;

/// A host's settings, as far as they matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) user: String,
    /// Files that may hold its key, in the order they are tried. Where the configuration names none, ssh names its usual ones.
    pub(super) identities: Vec<String>,
    /// As the configuration has it: `[USER@]HOST[:PORT]`, several with commas between them, the first one to be reached first.
    pub(super) jumps: Vec<String>,
    /// A program leads there.
    pub(super) proxy_command: Option<String>,
    pub(super) forwards: Vec<(ForwardKind, String)>,
}

impl Answer {
    pub(super) fn read(text: &str) -> Answer {
        let mut answer = Answer::default();
        for (keyword, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            let value = value.trim();
            match keyword {
                "hostname" => answer.host = value.to_owned(),
                "port" => answer.port = value.parse().ok(),
                "user" => answer.user = value.to_owned(),
                "identityfile" => answer.identities.push(value.to_owned()),
                "proxyjump" => answer.jumps = value.split(',').map(|jump| jump.trim().to_owned()).collect(),
                "proxycommand" if value != "none" => answer.proxy_command = Some(value.to_owned()),
                "localforward" => answer.forwards.push((ForwardKind::Local, value.to_owned())),
                "dynamicforward" => answer.forwards.push((ForwardKind::Dynamic, value.to_owned())),
                "remoteforward" => answer.forwards.push((ForwardKind::Remote, value.to_owned())),
                _ => {}
            }
        }
        answer.forget_echoes();
        answer
    }

    /// OpenSSH 9.2 writes a local forward to a socket in the file system twice: as what it is, and as a dynamic one.
    fn forget_echoes(&mut self) {
        let listens_of_sockets: Vec<String> = self
            .forwards
            .iter()
            .filter_map(|(kind, forward)| match (kind, forward.split_once(' ')?) {
                (ForwardKind::Local, (listen, target)) if target.contains('/') => Some(listen.to_owned()),
                _ => None,
            })
            .collect();
        let is_echo = |forward: &String| listens_of_sockets.contains(forward);
        self.forwards.retain(|(kind, forward)| *kind != ForwardKind::Dynamic || !is_echo(forward));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_ssh_writes_them() {
        let text = "host web\nuser jane doe\nhostname 10.0.0.1\nport 2222\nproxycommand none\nidentityfile ~/.ssh/the key\n\
                    identityfile ~/.ssh/id_rsa\ndynamicforward [::1]:8082\ndynamicforward 1080\nlocalforward 8080 [intra]:80\n\
                    localforward [::1]:8082 /run/x.sock\nremoteforward 0 [localhost]:94\nproxyjump a@b:22, c\nunknown\n";
        let forward = |kind, text: &str| (kind, text.to_owned());
        assert_eq!(
            Answer::read(text),
            Answer {
                host: "10.0.0.1".to_owned(),
                port: Some(2222),
                user: "jane doe".to_owned(),
                identities: vec!["~/.ssh/the key".to_owned(), "~/.ssh/id_rsa".to_owned()],
                jumps: vec!["a@b:22".to_owned(), "c".to_owned()],
                proxy_command: None,
                forwards: vec![
                    forward(ForwardKind::Dynamic, "1080"),
                    forward(ForwardKind::Local, "8080 [intra]:80"),
                    forward(ForwardKind::Local, "[::1]:8082 /run/x.sock"),
                    forward(ForwardKind::Remote, "0 [localhost]:94"),
                ],
            }
        );
        assert_eq!(Answer::read("proxycommand nc %h %p\n").proxy_command.as_deref(), Some("nc %h %p"));
    }
}
