//! Names to addresses, with the guard in between.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::guard::Guard;

/// A name service. Its answer is judged before it is used, so it need not be trusted.
#[async_trait]
pub trait Lookup: Debug + Send + Sync + 'static {
    /// All addresses of `name`, at least one.
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupError>;
}

/// Why a name has no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The answer is that there is no such name, or none with an address.
    #[error("there is no such host name")]
    NoSuchName,
    /// There is no answer.
    #[error("the name service fails: {0}")]
    Failed(String),
}

/// The system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        match tokio::net::lookup_host((name, 0)).await {
            Ok(found) => Ok(found.map(|address| address.ip()).collect()),
            Err(error) => Err(meaning(&error)),
        }
    }
}

/// What an error of the system's resolver means. Its code (`EAI_NONAME`, `EAI_AGAIN`) is lost on the
/// way here, so the C library's words decide; words that are not known here are a failure, which is
/// tried again.
fn meaning(error: &io::Error) -> LookupError {
    const NO_SUCH_NAME: [&str; 5] = [
        "Name or service not known",                    // glibc
        "No address associated with hostname",          // glibc
        "Name does not resolve",                        // musl
        "nodename nor servname provided, or not known", // BSD, macOS
        "No such host is known",                        // Windows
    ];
    let text = error.to_string();
    if NO_SUCH_NAME.iter().any(|words| text.contains(words)) {
        LookupError::NoSuchName
    } else {
        LookupError::Failed(text)
    }
}

/// The client's resolver: hands on only answers that the guard lets through.
#[derive(Debug, Clone)]
pub(super) struct GuardedResolver {
    pub(super) guard: Guard,
    pub(super) lookup: Arc<dyn Lookup>,
}

/// Most addresses of one name that are tried; no honest host has more.
const MAX_ADDRESSES: usize = 16;

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let mut addresses = resolver.lookup.lookup(name.as_str()).await?;
            // The whole answer is judged, then cut.
            resolver.guard.judge_answer(&addresses)?;
            addresses.truncate(MAX_ADDRESSES);
            if addresses.is_empty() {
                return Err(LookupError::NoSuchName.into());
            }
            // The client puts the real port in place of 0.
            let targets = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(targets) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::HttpConfig;
    use super::super::guard::Refused;
    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_home_is_refused() {
        let resolver = GuardedResolver {
            guard: Guard::new(&HttpConfig::default()),
            lookup: Arc::new(SystemLookup),
        };
        let resolved = resolver.resolve("localhost".parse().unwrap()).await;
        let Err(error) = resolved else {
            panic!("localhost was accepted");
        };
        assert!(error.downcast_ref::<Refused>().is_some());
    }

    #[test]
    fn case_071_the_resolvers_words_tell_a_missing_name_from_a_failing_service() {
        let said = |words: &str| {
            let text = format!("failed to lookup address information: {words}");
            meaning(&io::Error::other(text))
        };
        assert_eq!(said("Name or service not known"), LookupError::NoSuchName);
        assert_eq!(said("Name does not resolve"), LookupError::NoSuchName);
        for words in ["Temporary failure in name resolution", "Try again", "?"] {
            assert!(matches!(said(words), LookupError::Failed(_)), "{words}");
        }
    }
}
