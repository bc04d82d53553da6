//! SIGINT and SIGTERM: the first one asks to stop at the next safe place, the second one ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::{Error, Result};
use crate::progress::Stop;

use super::exit::Exit;

/// The signals that were received.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    raised: Arc<AtomicBool>,
    last: Arc<AtomicUsize>,
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// `Io` if the system refuses.
    pub(crate) fn install() -> Result<Signals> {
        let signals = Signals { raised: Arc::default(), last: Arc::default() };
        for (signal, number, exit) in [(SIGINT, 2, Exit::Interrupted), (SIGTERM, 15, Exit::Terminated)] {
            // The order matters: the shutdown is armed by the first signal and acts on the second.
            let refused = |error| Error::io("handle", "a signal", error);
            flag::register_conditional_shutdown(signal, i32::from(exit.code()), Arc::clone(&signals.raised))
                .map_err(refused)?;
            flag::register_usize(signal, Arc::clone(&signals.last), number).map_err(refused)?;
            flag::register(signal, Arc::clone(&signals.raised)).map_err(refused)?;
        }
        Ok(signals)
    }

    /// Returns the flag that the handlers raise.
    pub(crate) fn stop(&self) -> Stop {
        Stop::from_flag(Arc::clone(&self.raised))
    }

    /// Tells whether SIGTERM was it.
    pub(crate) fn is_terminated(&self) -> bool {
        self.last.load(Ordering::Relaxed) == 15
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_asks_to_stop_and_is_remembered() {
        let signals = Signals::install().unwrap();
        let stop = signals.stop();
        assert!(!stop.is_raised() && !signals.is_terminated());
        signal_hook::low_level::raise(SIGTERM).unwrap();
        assert!(stop.is_raised() && signals.is_terminated());
    }
}
