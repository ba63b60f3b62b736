//! `adit jumphost invite` and `account password-link`: links with which people sign in at the dashboard for the first time, or again.

use adit_jumphost::admin::{InvitationAdd, InvitationMade, PasswordLink};

use crate::arguments::InviteArguments;
use crate::command::{Asker, expiry};
use crate::door::Folder;
use crate::failure::Failure;

/// Makes a link that makes an account.
pub(crate) async fn invite(asker: &Asker<'_>, arguments: InviteArguments) -> Result<(), Failure> {
    let InviteArguments { account, tier, admin, expires } = arguments;
    let expires_in_ms = expires.as_deref().map(expiry).transpose()?;
    let what = match &account {
        Some(name) => format!("makes the account {name}"),
        None => "makes an account".to_owned(),
    };
    let time = expires.unwrap_or_else(|| "7d".to_owned());
    let question = InvitationAdd { account, tier, admin, expires_in_ms };
    asker.ask(Folder::MayBeNew, question, |made, running| told(made, &what, &time, running)).await
}

/// Makes a link that sets the password of an account.
pub(crate) async fn password_link(asker: &Asker<'_>, account: String) -> Result<(), Failure> {
    let what = format!("sets the password of {account}");
    let question = PasswordLink { account };
    asker.ask(Folder::MustBeThere, question, |made, running| told(made, &what, "24h", running)).await
}

fn told(made: &InvitationMade, what: &str, time: &str, running: bool) -> String {
    let (link, next) = match running {
        true => (made.url.as_str().to_owned(), ""),
        false => (
            format!("DASHBOARD{}", made.url.as_str()),
            "\nNo jump host runs here: start one, and put its dashboard's address in front.",
        ),
    };
    format!("{link}\nThis link {what}. It works once, within {time}: give it to nobody else.{next}")
}
