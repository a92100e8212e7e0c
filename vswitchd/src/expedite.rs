//! Shorter waits for the kernel while many ports are attached or detached.
//!
//! Attaching a program to a device's tcx hook ends with `synchronize_rcu()` under the RTNL lock:
//! ten to twenty milliseconds on an idle machine, a thousand ports one after the other. With
//! `/sys/kernel/rcu_expedited` set it is half a millisecond. The setting costs other CPUs an
//! interrupt per wait, so it is set only for as long as a batch takes. Where it cannot be written
//! (a container), ports just take longer.
//!
//! Source: Linux `include/net/tcx.h`, `tcx_entry_sync`; Documentation/RCU, "rcu_expedited".

use std::path::Path;
use std::time::Duration;

const SETTING: &str = "/sys/kernel/rcu_expedited";
/// From so many waits on it is worth it.
const WORTH: usize = 4;

/// The kernel finishes detaching on its own time: the setting stays on for so long after a batch.
pub const LINGER: Duration = Duration::from_secs(2);

/// The setting is on while this lives.
#[derive(Debug)]
pub struct Expedited {
    before: String,
}

impl Expedited {
    /// For a batch with this many attachments and detachments.
    pub fn for_batch(waits: usize) -> Option<Expedited> {
        if waits < WORTH {
            return None;
        }
        let before = std::fs::read_to_string(SETTING).ok()?;
        (before.trim() == "0" && write("1")).then_some(Expedited { before })
    }
}

impl Drop for Expedited {
    fn drop(&mut self) {
        write(&self.before);
    }
}

fn write(value: &str) -> bool {
    std::fs::write(Path::new(SETTING), value).is_ok()
}
