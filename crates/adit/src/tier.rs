//! `adit jumphost tier`: what the accounts of a tier may use.

use adit_jumphost::admin::{TierList, TierRemove, TierRemoved, TierSet, TierView};

use crate::arguments::TierCommand;
use crate::command::Asker;
use crate::door::Folder;
use crate::failure::Failure;
use crate::output::{Output, bytes};

/// Runs one command.
pub(crate) async fn run(asker: &Asker<'_>, command: TierCommand) -> Result<(), Failure> {
    let output = asker.output;
    match command {
        TierCommand::List => asker.ask(Folder::MustBeThere, TierList {}, |tiers, _| table(output, tiers)).await,
        TierCommand::Set(limits) => {
            let question = TierSet {
                name: limits.name,
                forwards_per_account: limits.forwards,
                visitors_per_port: limits.visitors_per_port,
                visitors_per_account: limits.visitors,
                bandwidth_to_owner: limits.bandwidth_to_owner,
                bandwidth_to_visitors: limits.bandwidth_to_visitors,
            };
            asker.ask(Folder::MayBeNew, question, |tier, _| table(output, std::slice::from_ref(tier))).await
        }
        TierCommand::Remove { name } => {
            let told = |removed: &TierRemoved, _: bool| format!("Tier {} is removed.", removed.name);
            asker.ask(Folder::MustBeThere, TierRemove { name }, told).await
        }
    }
}

fn table(output: Output, tiers: &[TierView]) -> String {
    if tiers.is_empty() {
        return "No tiers yet.\nNext: adit jumphost tier set NAME".to_owned();
    }
    let row = |tier: &TierView| {
        [
            tier.name.clone(),
            limit(tier.forwards_per_account, |count| count.to_string()),
            limit(tier.visitors_per_port, |count| count.to_string()),
            limit(tier.visitors_per_account, |count| count.to_string()),
            limit(tier.bandwidth_to_owner, rate),
            limit(tier.bandwidth_to_visitors, rate),
        ]
    };
    let heads = ["TIER", "FORWARDS", "VISITORS/PORT", "VISITORS", "TO OWNER", "TO VISITORS"];
    output.table(heads, tiers.iter().map(row).collect())
}

fn limit<N: Default + PartialEq>(limit: Option<N>, text: impl FnOnce(N) -> String) -> String {
    match limit {
        None => "default".to_owned(),
        Some(none) if none == N::default() => "no limit".to_owned(),
        Some(limit) => text(limit),
    }
}

fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", bytes(bytes_per_second))
}
