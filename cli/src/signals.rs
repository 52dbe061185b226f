//! Ctrl-C and SIGTERM: the first asks the workers to hand their work back, the second ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

/// Tells whether and by which signal the run was ended.
#[derive(Debug, Clone)]
pub(crate) struct Shutdown {
    pub(crate) token: CancellationToken,
    signal: Arc<AtomicU8>,
}

impl Shutdown {
    /// Listens from now on.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let shutdown = Self {
            token: CancellationToken::new(),
            signal: Arc::default(),
        };
        shutdown.spawn()?;
        Ok(shutdown)
    }

    #[cfg(unix)]
    fn spawn(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let this = self.clone();
        tokio::spawn(async move {
            loop {
                let number = tokio::select! {
                    Some(()) = interrupt.recv() => 2,
                    Some(()) = terminate.recv() => 15,
                    else => return,
                };
                this.received(number);
            }
        });
        Ok(())
    }

    #[cfg(not(unix))]
    fn spawn(&self) -> std::io::Result<()> {
        let this = self.clone();
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                this.received(2);
            }
        });
        Ok(())
    }

    /// The machine is about to be taken away: as if it had been told to terminate.
    /// A signal that follows is the first.
    pub(crate) fn reclaimed(&self) {
        self.token.cancel();
    }

    fn received(&self, number: u8) {
        if self.signal.load(Ordering::Relaxed) != 0 {
            // The second signal means now; leases end by themselves.
            std::process::exit(i32::from(number) + 128);
        }
        self.signal.store(number, Ordering::Relaxed);
        self.token.cancel();
    }

    /// The exit code of the signal that ended the run, if one did.
    pub(crate) fn code(&self) -> Option<u8> {
        let number = self.signal.load(Ordering::Relaxed);
        (number != 0).then_some(number + 128)
    }
}
