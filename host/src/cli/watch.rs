//! Watches searches: progress on a terminal, and Ctrl-C, which ends a search with what it has found.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once};

use bitbudget::search::{Effort, NODE_LIMIT, Progress};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::report;

/// Set by Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Limit of a search.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct SearchArgs {
    /// End every search after so many nodes, with the gap that is left; Ctrl-C ends it at once
    #[arg(long, value_name = "NODES", default_value_t = NODE_LIMIT)]
    node_limit: u64,
}

impl SearchArgs {
    pub(crate) fn effort(self) -> Effort<'static> {
        Effort {
            node_limit: self.node_limit,
            watch: &watch,
        }
    }
}

/// The effort of commands for which searches are not what matters.
pub(crate) fn effort() -> Effort<'static> {
    SearchArgs {
        node_limit: NODE_LIMIT,
    }
    .effort()
}

/// Whether Ctrl-C has ended a search.
pub(crate) fn is_interrupted() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Takes the progress off the terminal.
pub(crate) fn clear() {
    if let Ok(mut bar) = BAR.lock()
        && let Some(bar) = bar.take()
    {
        bar.finish_and_clear();
    }
}

/// Shows how far a search is; false after Ctrl-C. Searches too short to be watched leave Ctrl-C alone.
fn watch(progress: Progress) -> bool {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        // a second time ends the program; a command with a handler of its own keeps it
        let _ = ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        });
    });
    if let Ok(mut bar) = BAR.lock() {
        let bar = bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{spinner} searching: {msg}");
            ProgressBar::new_spinner()
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        if progress.nodes > 0 {
            let gap = match progress.gap {
                Some(gap) => format!("gap at most {}", report::loss(gap)),
                None => "no layout yet".to_owned(),
            };
            bar.set_message(format!("{} nodes, {gap}; Ctrl-C ends it", progress.nodes));
        }
        bar.tick();
    }
    !is_interrupted()
}
