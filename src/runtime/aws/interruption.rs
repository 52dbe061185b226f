//! The notice that a Spot instance is about to be taken back.

use std::time::Duration;

use aws_config::imds::Client;
use tokio_util::sync::CancellationToken;

/// How often the metadata service is asked. The notice comes two minutes ahead, and the service
/// refuses whoever asks much more often.
const EVERY: Duration = Duration::from_secs(5);

/// Where the notice stands; there is nothing until there is one.
const NOTICE: &str = "/latest/meta-data/spot/instance-action";

/// Asks the instance's metadata service (IMDSv2), at the address that the environment names or the
/// usual one.
#[derive(Debug)]
pub struct InterruptionNotices {
    metadata: Client,
}

impl InterruptionNotices {
    /// Asks nothing yet.
    pub fn new() -> Self {
        let metadata = Client::builder()
            .connect_timeout(Duration::from_secs(1))
            .read_timeout(Duration::from_secs(1))
            .max_attempts(1)
            .build();
        Self { metadata }
    }

    /// Waits for a notice; `false` where `stop` came first. A service that does not answer has given no
    /// notice: the instance is on demand, or the service is out for a moment.
    pub async fn wait(&self, stop: &CancellationToken) -> bool {
        loop {
            match self.metadata.get(NOTICE).await {
                Ok(_) => return true,
                Err(error) => tracing::trace!(%error, "no notice of an interruption"),
            }
            tokio::select! {
                () = stop.cancelled() => return false,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }
}

impl Default for InterruptionNotices {
    fn default() -> Self {
        Self::new()
    }
}
