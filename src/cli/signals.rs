//! SIGINT and SIGTERM: the first one asks to stop at the next safe place, the second one ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::{Error, Result};

use super::exit::Exit;

/// The signals that were received.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    last: Arc<AtomicUsize>,
}

impl Signals {
    /// Installs the handlers. Each signal raises `raised`.
    ///
    /// # Errors
    /// `Io` if the system refuses.
    pub(crate) fn install(raised: &Arc<AtomicBool>) -> Result<Signals> {
        let signals = Signals { last: Arc::default() };
        for (signal, number, exit) in [(SIGINT, 2, Exit::Interrupted), (SIGTERM, 15, Exit::Terminated)] {
            // The order matters: the shutdown is armed by the first signal and acts on the second.
            let refused = |error| Error::io("handle", "a signal", error);
            flag::register_conditional_shutdown(signal, i32::from(exit.code()), Arc::clone(raised))
                .map_err(refused)?;
            flag::register_usize(signal, Arc::clone(&signals.last), number).map_err(refused)?;
            flag::register(signal, Arc::clone(raised)).map_err(refused)?;
        }
        Ok(signals)
    }

    /// Tells whether SIGTERM was it.
    pub(crate) fn is_terminated(&self) -> bool {
        self.last.load(Ordering::Relaxed) == 15
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Stop;

    #[test]
    fn the_first_signal_asks_to_stop_and_is_remembered() {
        let raised = Arc::<AtomicBool>::default();
        let signals = Signals::install(&raised).unwrap();
        let stop = Stop::from_flag(raised);
        assert!(!stop.is_raised() && !signals.is_terminated());
        signal_hook::low_level::raise(SIGTERM).unwrap();
        assert!(stop.is_raised() && signals.is_terminated());
    }
}
