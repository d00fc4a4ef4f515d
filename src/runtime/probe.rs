//! Whether the kernel lets this process have the rings that cores need, and has all that they ask of them.

use super::buffers::Buffers;
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};
use std::io;

/// The operations that cores push, with their names in the kernel. What came with a flag of an operation or with the setup
/// of a ring is no newer than the last of them.
const OPERATIONS: &[(&str, u8)] = &[
    ("IORING_OP_READ", opcode::Read::CODE),
    ("IORING_OP_WRITE", opcode::Write::CODE),
    ("IORING_OP_FSYNC", opcode::Fsync::CODE),
    ("IORING_OP_TIMEOUT", opcode::Timeout::CODE),
    ("IORING_OP_ACCEPT", opcode::Accept::CODE),
    ("IORING_OP_RECV", opcode::Recv::CODE),
    ("IORING_OP_SEND", opcode::Send::CODE),
    ("IORING_OP_SENDMSG", opcode::SendMsg::CODE),
    ("IORING_OP_MSG_RING", opcode::MsgRingData::CODE),
];

/// Sets up a small ring as cores do, with buffers, and lets it go; the operations that it does not know.
pub fn probe() -> io::Result<Vec<&'static str>> {
    let mut builder = IoUring::<squeue::Entry, cqueue::Entry>::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun().setup_taskrun_flag().setup_submit_all();
    let ring = builder.build(8)?;
    let buffers = Buffers::register(&ring.submitter())?;
    let mut known = Probe::new();
    ring.submitter().register_probe(&mut known)?;
    let missing = OPERATIONS.iter().filter(|(_, code)| !known.is_supported(*code)).map(|(name, _)| *name).collect();
    drop(ring);
    // Only after the ring, which uses them.
    drop(buffers);
    Ok(missing)
}
