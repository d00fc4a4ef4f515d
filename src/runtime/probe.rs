//! Whether the kernel lets this process have the rings that cores need.

use io_uring::{IoUring, cqueue, squeue};
use std::io;

/// Sets up a small ring as cores do, and lets it go.
pub fn probe() -> io::Result<()> {
    let mut builder = IoUring::<squeue::Entry, cqueue::Entry>::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun().setup_taskrun_flag().setup_submit_all();
    builder.build(8).map(drop)
}
