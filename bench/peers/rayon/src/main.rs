// SPDX-License-Identifier: MIT

//! The fork-join rows of the benchmark table in rayon, and its channel rows in crossbeam-channel, on
//! a thread for each end: rayon's tasks cannot wait.  Called as `rayon-peer [--workers N] ROW`;
//! prints `row<TAB>value<TAB>unit`.

use crossbeam_channel::bounded;
use std::thread;
use std::time::Instant;

const BATCH: usize = 10_000;
const LEAVES: u64 = 1_000_000;
const SKYNET_SUM: u64 = 499_999_500_000;
const FIB_N: u32 = 32;
const FIB_VALUE: u64 = 2_178_309;
const FIB_CALLS: usize = 7_049_155;

fn ns_per(start: Instant, count: usize) -> f64 {
    start.elapsed().as_nanos() as f64 / count as f64
}

fn spawn_join(rounds: usize) -> f64 {
    let mut ran = 0;
    let start = Instant::now();
    for _ in 0..rounds {
        rayon::scope(|scope| scope.spawn(|_| ran += 1));
    }
    assert_eq!(ran, rounds);
    ns_per(start, rounds)
}

fn measure_spawn_join() -> f64 {
    spawn_join(50_000);
    spawn_join(1_000_000)
}

fn spawn_batch(batches: usize) -> f64 {
    let start = Instant::now();
    for _ in 0..batches {
        rayon::scope(|scope| {
            for _ in 0..BATCH {
                scope.spawn(|_| ());
            }
        });
    }
    ns_per(start, batches * BATCH)
}

fn measure_spawn_batch() -> f64 {
    spawn_batch(10);
    spawn_batch(100)
}

fn skynet(number: u64, size: u64) -> u64 {
    if size == 1 {
        return number;
    }
    let child = size / 10;
    let mut sums = [0; 10];
    rayon::scope(|scope| {
        for (i, sum) in sums.iter_mut().enumerate() {
            scope.spawn(move |_| *sum = skynet(number + i as u64 * child, child));
        }
    });
    sums.iter().sum()
}

fn measure_skynet() -> f64 {
    const ROUNDS: usize = 3;
    assert_eq!(skynet(0, LEAVES), SKYNET_SUM);
    let start = Instant::now();
    for _ in 0..ROUNDS {
        assert_eq!(skynet(0, LEAVES), SKYNET_SUM);
    }
    ns_per(start, ROUNDS) / 1e6
}

fn fib(n: u32) -> u64 {
    if n < 2 {
        return n as u64;
    }
    let (left, right) = rayon::join(|| fib(n - 1), || fib(n - 2));
    left + right
}

fn measure_fib() -> f64 {
    fib(FIB_N - 7);
    let start = Instant::now();
    assert_eq!(fib(FIB_N), FIB_VALUE);
    ns_per(start, FIB_CALLS)
}

/// Numbers through one channel of 1024 places, a thread for each end.
fn pass(ends: u64, count: u64) {
    let (sender, receiver) = bounded(1024);
    let senders: Vec<_> = (0..ends)
        .map(|i| {
            let sender = sender.clone();
            thread::spawn(move || {
                for number in i * count..(i + 1) * count {
                    sender.send(number).unwrap();
                }
            })
        })
        .collect();
    let receivers: Vec<_> = (0..ends)
        .map(|_| {
            let receiver = receiver.clone();
            thread::spawn(move || receiver.iter().sum::<u64>())
        })
        .collect();
    drop(sender);
    for sender in senders {
        sender.join().unwrap();
    }
    let sum: u64 = receivers.into_iter().map(|receiver| receiver.join().unwrap()).sum();
    assert_eq!(sum, ends * count * (ends * count - 1) / 2);
}

fn measure_channel(ends: u64) -> f64 {
    const MESSAGES: u64 = 8_000_000;
    pass(ends, 200_000 / ends);
    let start = Instant::now();
    pass(ends, MESSAGES / ends);
    1000.0 / ns_per(start, MESSAGES as usize)
}

fn measure(row: &str) -> Option<(f64, &'static str)> {
    Some(match row {
        "spawn_join" => (measure_spawn_join(), "ns"),
        "spawn_batch" => (measure_spawn_batch(), "ns"),
        "skynet_join" => (measure_skynet(), "ms"),
        "fib_1" | "fib_2" => (measure_fib(), "ns"),
        "channel_1_1" => (measure_channel(1), "M/s"),
        "channel_4_4" => (measure_channel(4), "M/s"),
        _ => return None,
    })
}

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut workers = 2;
    if arguments.len() > 1 && arguments[0] == "--workers" {
        workers = arguments[1].parse().expect("--workers N");
        arguments.drain(..2);
    }
    let row = arguments.first().map_or("", String::as_str);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).build().expect("pool");
    match pool.install(|| measure(row)) {
        Some((value, unit)) => println!("{row}\t{value:.3}\t{unit}"),
        None => {
            eprintln!("no such row: {row}");
            std::process::exit(1);
        }
    }
}
