//! The `crimson` command: understands its arguments and runs the server, or what looks after its log, its machine or its
//! configuration.

use crimson::config::{Invocation, flags};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let base = std::env::current_dir().unwrap_or_default();
    match flags::invocation(std::env::args_os().skip(1).collect(), &base, &mut std::io::stdin()) {
        Ok(Invocation::Run(startup)) => crimson::server::run(*startup),
        Ok(Invocation::Doctor(startup)) => crimson::server::doctor::run(*startup),
        Ok(Invocation::TestConfig(startup)) => crimson::server::doctor::test_config(*startup),
        Ok(Invocation::CheckAof(asked)) => crimson::server::check_aof::run(&asked),
        Ok(Invocation::Print(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{}", message.trim_end());
            ExitCode::FAILURE
        }
    }
}
