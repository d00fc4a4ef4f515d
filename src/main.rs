//! Temporary entry point.
use std::sync::Arc;
#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
fn main() {
    use crimson::*;
    let args: Vec<String> = std::env::args().collect();
    let flag = |name: &str, default: usize| {
        args.iter().position(|a| a == name).map_or(default, |i| args[i + 1].parse().unwrap())
    };
    let (port, threads, cpu) = (flag("--port", 6379), flag("--threads", 1), flag("--cpus", 0));
    let mut config = config::Config::default();
    config.port = port as u16;
    let node = Arc::new(commands::Node::new(config, threads, commands::table().entries().len(), "x".repeat(40), 0));
    let plans = (0..threads)
        .map(|i| {
            let s = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            s.set_reuse_address(true).unwrap();
            s.set_reuse_port(true).unwrap();
            s.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], port as u16)).into()).unwrap();
            s.listen(511).unwrap();
            runtime::CorePlan {
                cpu: Some((cpu + i) % 2),
                shard: shard::ShardId(i as u16),
                listeners: vec![runtime::Listener { socket: s.into(), kind: runtime::ListenerKind::Tcp }],
            }
        })
        .collect();
    runtime::start(node, plans).unwrap().join().unwrap();
}
