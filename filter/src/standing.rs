//! What is in force for the workload, told in the debug log as `sidegate explain` tells it.

use sidegate_engine::east_west::{Chain, WorkloadPolicy, explain};

use crate::host::{self, Level};
use crate::observe::printable;

/// So many lines at most.
const LINES: usize = 10_000;

/// Tells it, if anybody reads it.
pub fn tell(workload: &WorkloadPolicy, chain: Chain) {
    if !host::logs(Level::Debug) {
        return;
    }
    let rules = workload.objects().map(|object| object.rules.len().saturating_add(1)).sum::<usize>();
    // There is a line for each rule at each port, and a port is a value.
    if rules.saturating_mul(workload.values().saturating_add(1)) > LINES {
        return host::log(Level::Debug, "too much is in force to be told here: `sidegate explain` tells it");
    }
    explain::standing(workload, None, chain).lines().for_each(|line| host::log(Level::Debug, &printable(line)));
}
