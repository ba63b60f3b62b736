//! Traffic by the minute: takes from each forward what it carried since the last time, and writes a minute's worth at once.
//! The counters themselves are the [registry](crate::registry)'s; a session notices nothing of this.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use adit_core::{AccountId, Port};
use adit_store::{Carried, PortTraffic, UnixMillis};
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;

/// What graphs show.
pub(crate) const SHOWN: Duration = Duration::from_secs(24 * 3_600);

/// What is kept: an hour more than what is shown, so that a page need not fear the pruning.
const KEPT: Duration = Duration::from_secs(25 * 3_600);

const MINUTE: Duration = Duration::from_secs(60);

/// Every so many minutes old rows go.
const PRUNE_EVERY: u32 = 60;

/// What ports carried.
pub(crate) type ByPort = HashMap<(AccountId, Port), Carried>;

/// Adds to what a port carried.
pub(crate) fn add(to: &mut ByPort, port: (AccountId, Port), carried: Carried) {
    if carried != Carried::default() {
        let sum = to.entry(port).or_default();
        sum.bytes_in += carried.bytes_in;
        sum.bytes_out += carried.bytes_out;
        sum.visitors += carried.visitors;
    }
}

/// The task that writes.
pub(crate) struct Meter {
    shared: Arc<Shared>,
    /// What could not be written, to be written with the next minute.
    unwritten: ByPort,
}

impl Meter {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, unwritten: ByPort::new() }
    }

    /// Writes at the end of each minute of the clock until `stop`, and then once more: by then the sessions have ended.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut written = 0_u32;
        loop {
            let now = SystemTime::now();
            let minute = beginning_of_minute(now);
            let stopped = stop.run_until_cancelled(tokio::time::sleep(rest_of_minute(now))).await.is_none();
            self.write(minute).await;
            if stopped {
                return;
            }
            if written.is_multiple_of(PRUNE_EVERY) {
                self.prune().await;
            }
            written = written.wrapping_add(1);
        }
    }

    /// Writes what was carried since the last time, as of the minute that began then.
    pub(crate) async fn write(&mut self, minute: UnixMillis) {
        self.shared.registry.take_carried(&mut self.unwritten);
        let rows = self.unwritten.iter().map(|((account, port), carried)| PortTraffic {
            account: account.0,
            port: port.get(),
            carried: *carried,
        });
        match self.shared.store.add_traffic(minute, &rows.collect::<Vec<_>>()).await {
            Ok(()) => self.unwritten.clear(),
            Err(error) => {
                tracing::warn!(error = crate::error_chain(&error), "the traffic of a minute is written with the next");
            }
        }
    }

    async fn prune(&self) {
        let before = UnixMillis::from(SystemTime::now()).before(KEPT);
        if let Err(error) = self.shared.store.prune_traffic(before).await {
            tracing::warn!(error = crate::error_chain(&error), "old traffic stays for now");
        }
    }
}

fn beginning_of_minute(time: SystemTime) -> UnixMillis {
    let millis = UnixMillis::from(time).0;
    UnixMillis(millis - millis.rem_euclid(MINUTE.as_millis() as i64))
}

fn rest_of_minute(time: SystemTime) -> Duration {
    let gone = UnixMillis::from(time).0 - beginning_of_minute(time).0;
    MINUTE.saturating_sub(Duration::from_millis(gone.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn a_minute_is_one_of_the_clock() {
        let time = UNIX_EPOCH + Duration::from_millis(90_250);
        assert_eq!(beginning_of_minute(time), UnixMillis(60_000));
        assert_eq!(rest_of_minute(time), Duration::from_millis(29_750));
        assert_eq!(rest_of_minute(UNIX_EPOCH), MINUTE);
    }

    #[test]
    fn what_carried_nothing_leaves_no_row() {
        let mut ports = ByPort::new();
        let port = (AccountId(1), Port::MAX);
        add(&mut ports, port, Carried::default());
        assert!(ports.is_empty());
        let carried = Carried { bytes_in: 1, bytes_out: 2, visitors: 3 };
        add(&mut ports, port, carried);
        add(&mut ports, port, carried);
        assert_eq!(ports[&port], Carried { bytes_in: 2, bytes_out: 4, visitors: 6 });
    }
}
