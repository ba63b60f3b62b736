//! People at the dashboard, for the stories about them.

use std::net::SocketAddr;

use adit_jumphost::admin::InvitationAdd;
use adit_jumphost::member::Member;
use adit_jumphost::signin::password::Password;
use adit_jumphost::signin::token::Token;
use adit_jumphost::signin::{InvitationAccept, PasswordSignIn, SessionProof, SignInError, SignedIn, Visit};

use crate::host::TestHost;

pub(crate) const PASSWORD: &str = "three words apart";

/// Where everybody's browser is, unless a story says otherwise.
pub(crate) fn browser() -> SocketAddr {
    "192.0.2.1:50000".parse().unwrap()
}

/// A visit without a session from before.
pub(crate) fn visit() -> Visit {
    Visit { client: browser(), replaces: None }
}

/// What a page shows of its session.
pub(crate) fn proof(session: &SignedIn) -> SessionProof {
    SessionProof { token: session.token.clone(), key: Some(session.key.clone()) }
}

pub(crate) fn question(account: &str, password: &str) -> PasswordSignIn {
    PasswordSignIn { account: account.into(), password: Password::new(password.into()) }
}

impl TestHost {
    /// Invites somebody, who makes an account with [`PASSWORD`]; signed in with it.
    pub(crate) async fn newcomer(&self, name: &str, admin: bool) -> Member {
        let made = self.admin.call(InvitationAdd { admin, ..InvitationAdd::default() }).await.unwrap();
        let signed_in = self.sign_in.accept_invitation(acceptance(made.token, name, PASSWORD), visit()).await.unwrap();
        self.member(&signed_in).await.unwrap()
    }

    pub(crate) async fn sign_in(&self, account: &str, password: &str) -> Result<SignedIn, SignInError> {
        self.sign_in.with_password(question(account, password), visit()).await
    }

    /// Who the browser is that has this session.
    pub(crate) async fn member(&self, session: &SignedIn) -> Option<Member> {
        self.sign_in.member_of_session(&proof(session), browser()).await.ok()
    }
}

pub(crate) fn acceptance(token: Token, account: &str, password: &str) -> InvitationAccept {
    InvitationAccept { token, account: account.into(), password: Password::new(password.into()) }
}
