// SPDX-License-Identifier: MIT

//! The rows of the benchmark table in Tokio.  Called as `tokio-peer [--workers N] ROW...`; prints a
//! line `row<TAB>value<TAB>unit` for each.  One worker is the current-thread runtime, which is
//! Tokio's best there; more are the multi-thread one, with the measuring task on a worker.

mod system;

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::{spawn, yield_now};

const BATCH: usize = 10_000;
const LEAVES: u64 = 1_000_000;
const SKYNET_SUM: u64 = 499_999_500_000;
const FIB_N: u32 = 32;
const FIB_VALUE: u64 = 2_178_309;
const FIB_CALLS: usize = 7_049_155;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

fn ns_per(start: Instant, count: usize) -> f64 {
    start.elapsed().as_nanos() as f64 / count as f64
}

fn print(row: &str, value: f64, unit: &str) {
    println!("{row}\t{value:.3}\t{unit}");
}

/// Two tasks take turns; ns per switch.
async fn yield_both(rounds: usize) -> f64 {
    let take_turns = move || async move {
        for _ in 0..rounds {
            yield_now().await;
        }
    };
    let start = Instant::now();
    let one = spawn(take_turns());
    let two = spawn(take_turns());
    one.await.unwrap();
    two.await.unwrap();
    ns_per(start, 2 * rounds)
}

async fn measure_yield() -> f64 {
    yield_both(100_000).await;
    yield_both(2_000_000).await
}

async fn spawn_join(rounds: usize) -> f64 {
    let start = Instant::now();
    for _ in 0..rounds {
        spawn(async {}).await.unwrap();
    }
    ns_per(start, rounds)
}

async fn measure_spawn_join() -> f64 {
    spawn_join(50_000).await;
    spawn_join(1_000_000).await
}

async fn spawn_batch(batches: usize) -> f64 {
    let mut handles = Vec::with_capacity(BATCH);
    let start = Instant::now();
    for _ in 0..batches {
        for _ in 0..BATCH {
            handles.push(spawn(async {}));
        }
        for handle in handles.drain(..) {
            handle.await.unwrap();
        }
    }
    ns_per(start, batches * BATCH)
}

async fn measure_spawn_batch() -> f64 {
    spawn_batch(10).await;
    spawn_batch(100).await
}

async fn ping_pong(rounds: usize) -> f64 {
    let (ping, mut ping_end) = mpsc::channel::<usize>(1);
    let (pong, mut pong_end) = mpsc::channel::<usize>(1);
    let other = spawn(async move {
        while let Some(value) = ping_end.recv().await {
            pong.send(value + 1).await.unwrap();
        }
    });
    let start = Instant::now();
    for i in 0..rounds {
        ping.send(i).await.unwrap();
        assert_eq!(pong_end.recv().await, Some(i + 1));
    }
    let per_round = ns_per(start, rounds);
    drop(ping);
    other.await.unwrap();
    per_round
}

async fn measure_ping_pong() -> f64 {
    ping_pong(50_000).await;
    ping_pong(1_000_000).await
}

fn skynet_join(number: u64, size: u64) -> Boxed<u64> {
    Box::pin(async move {
        if size == 1 {
            return number;
        }
        let child = size / 10;
        let handles: [_; 10] =
            std::array::from_fn(|i| spawn(skynet_join(number + i as u64 * child, child)));
        let mut sum = 0;
        for handle in handles {
            sum += handle.await.unwrap();
        }
        sum
    })
}

fn skynet_channel(number: u64, size: u64, parent: mpsc::Sender<u64>) -> Boxed<()> {
    Box::pin(async move {
        if size == 1 {
            parent.send(number).await.unwrap();
            return;
        }
        let child = size / 10;
        let (children, mut children_end) = mpsc::channel(10);
        for i in 0..10 {
            spawn(skynet_channel(number + i * child, child, children.clone()));
        }
        drop(children);
        let mut sum = 0;
        while let Some(value) = children_end.recv().await {
            sum += value;
        }
        parent.send(sum).await.unwrap();
    })
}

async fn measure_skynet_join() -> f64 {
    assert_eq!(spawn(skynet_join(0, LEAVES)).await.unwrap(), SKYNET_SUM);
    let start = Instant::now();
    assert_eq!(spawn(skynet_join(0, LEAVES)).await.unwrap(), SKYNET_SUM);
    ns_per(start, 1) / 1e6
}

async fn skynet_channel_once() {
    let (root, mut root_end) = mpsc::channel(1);
    spawn(skynet_channel(0, LEAVES, root));
    assert_eq!(root_end.recv().await, Some(SKYNET_SUM));
}

async fn measure_skynet_channel() -> f64 {
    skynet_channel_once().await;
    let start = Instant::now();
    skynet_channel_once().await;
    ns_per(start, 1) / 1e6
}

fn fib(n: u32) -> Boxed<u64> {
    Box::pin(async move {
        if n < 2 {
            return n as u64;
        }
        let left = spawn(fib(n - 1));
        let right = fib(n - 2).await;
        left.await.unwrap() + right
    })
}

async fn measure_fib() -> f64 {
    fib(FIB_N - 7).await;
    let start = Instant::now();
    assert_eq!(fib(FIB_N).await, FIB_VALUE);
    ns_per(start, FIB_CALLS)
}

/// Numbers through one channel of 1024 places, one receiver: Tokio's has no more.
async fn pass(count: u64) {
    let (sender, mut receiver) = mpsc::channel(1024);
    let sending = spawn(async move {
        for i in 0..count {
            sender.send(i).await.unwrap();
        }
    });
    let mut sum = 0;
    while let Some(number) = receiver.recv().await {
        sum += number;
    }
    sending.await.unwrap();
    assert_eq!(sum, count * (count - 1) / 2);
}

async fn measure_channel() -> f64 {
    const MESSAGES: u64 = 4_000_000;
    pass(200_000).await;
    let start = Instant::now();
    pass(MESSAGES).await;
    1000.0 / ns_per(start, MESSAGES as usize)
}

fn runtime(workers: usize) -> Runtime {
    match workers {
        1 => Builder::new_current_thread().enable_all().build(),
        _ => Builder::new_multi_thread().worker_threads(workers).enable_all().build(),
    }
    .expect("runtime")
}

fn unit(row: &str) -> &'static str {
    match row {
        "skynet_join" | "skynet_channel" | "copy_small" | "copy_big" => "ms",
        "channel_1_1" => "M/s",
        "sleepers" => "B",
        "timers" => "us",
        _ => "ns",
    }
}

fn measure(row: &str, workers: usize) -> f64 {
    let tokio = runtime(workers);
    let task: Boxed<f64> = match row {
        "yield" => Box::pin(measure_yield()),
        "spawn_join" => Box::pin(measure_spawn_join()),
        "spawn_batch" => Box::pin(measure_spawn_batch()),
        "ping_pong" => Box::pin(measure_ping_pong()),
        "skynet_join" => Box::pin(measure_skynet_join()),
        "skynet_channel" => Box::pin(measure_skynet_channel()),
        "fib_1" | "fib_2" => Box::pin(measure_fib()),
        "channel_1_1" => Box::pin(measure_channel()),
        "sleepers" => Box::pin(system::measure_sleepers()),
        "timers" => Box::pin(system::measure_timers()),
        "http_hello" => Box::pin(system::serve()),
        "copy_small" => Box::pin(system::measure_copy(10_000, 4096)),
        "copy_big" => Box::pin(system::measure_copy(8, 64 << 20)),
        _ => {
            eprintln!("no such row: {row}");
            std::process::exit(1);
        }
    };
    let value = tokio.block_on(async { spawn(task).await.unwrap() });
    tokio.shutdown_background(); // the sleepers need not be ended one by one
    value
}

fn main() {
    let mut rows: Vec<String> = std::env::args().skip(1).collect();
    let mut workers = 2;
    if rows.len() >= 2 && rows[0] == "--workers" {
        workers = rows[1].parse().expect("--workers N");
        rows.drain(..2);
    }
    for row in rows {
        print(&row, measure(&row, workers), unit(&row));
    }
}
