// SPDX-License-Identifier: MIT

//! The rows that need the system: memory, timers, sockets, files.

use crate::{ns_per, print};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{spawn, yield_now};
use tokio::time::sleep;

const SLEEPERS: usize = 1_000_000;
const TIMERS: usize = 100_000;
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n";

/// A figure of /proc/self/status in bytes.
fn memory_of(field: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let line = text.lines().find(|line| line.starts_with(field)).expect("the field");
    let kib: f64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kib * 1024.0
}

/// A million tasks asleep.
pub async fn measure_sleepers() -> f64 {
    let (resident, tables) = (memory_of("VmRSS:"), memory_of("VmPTE:"));
    let begun = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    for _ in 0..SLEEPERS {
        let begun = begun.clone();
        spawn(async move {
            begun.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_secs(3600)).await;
        });
    }
    while begun.load(Ordering::Relaxed) < SLEEPERS {
        yield_now().await;
    }
    print("sleepers_create", ns_per(start, 1) / 1e6, "ms");
    print("sleepers_page_table", (memory_of("VmPTE:") - tables) / SLEEPERS as f64, "B");
    (memory_of("VmRSS:") - resident) / SLEEPERS as f64
}

/// Marsaglia's xorshift, as all these programs use it.
fn next_random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

pub async fn measure_timers() -> f64 {
    let mut seed = 88172645463325252;
    let mut handles = Vec::with_capacity(TIMERS);
    for _ in 0..TIMERS {
        let duration = Duration::from_nanos(next_random(&mut seed) % 1_000_000_000);
        handles.push(spawn(async move {
            let start = Instant::now();
            sleep(duration).await;
            (start.elapsed() - duration).as_nanos() as f64 / 1000.0
        }));
    }
    let mut late = Vec::with_capacity(TIMERS);
    for handle in handles {
        late.push(handle.await.unwrap());
    }
    late.sort_by(f64::total_cmp);
    print("timers_p50", late[TIMERS / 2], "us");
    late[TIMERS * 99 / 100]
}

async fn hello(mut stream: TcpStream) {
    let mut request = [0; 4096];
    let mut have = 0;
    loop {
        match stream.read(&mut request[have..]).await {
            Ok(n) if n > 0 => have += n,
            _ => return,
        }
        if request[..have].ends_with(b"\r\n\r\n") {
            have = 0;
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }
}

/// Serves until SIGTERM ends the process.
pub async fn serve() -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    println!("port\t{}\thttp_hello", listener.local_addr().expect("address").port());
    loop {
        let (stream, _) = listener.accept().await.expect("accept");
        stream.set_nodelay(true).expect("nodelay");
        spawn(hello(stream));
    }
}

async fn copy_all(folder: &str, count: usize, size: usize) -> f64 {
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let copiers: Vec<_> = (0..64)
        .map(|_| {
            let (next, folder) = (next.clone(), folder.to_string());
            spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let from = format!("{folder}/from-{number}");
                    let copied = tokio::fs::copy(from, format!("{folder}/to-{number}")).await;
                    assert_eq!(copied.expect("copy"), size as u64);
                }
            })
        })
        .collect();
    for copier in copiers {
        copier.await.unwrap();
    }
    ns_per(start, 1) / 1e6
}

/// A warm-up, and the best of three, as Weft and the floor do it.
pub async fn measure_copy(count: usize, size: usize) -> f64 {
    let folder = format!("/dev/shm/weft-bench-tokio-{}", std::process::id());
    std::fs::create_dir(&folder).expect("a folder in /dev/shm");
    let data = vec![b'w'; size];
    for i in 0..count {
        std::fs::write(format!("{folder}/from-{i}"), &data).expect("write");
    }
    let mut best = f64::INFINITY;
    for round in 0..4 {
        let value = copy_all(&folder, count, size).await;
        for i in 0..count {
            std::fs::remove_file(format!("{folder}/to-{i}")).expect("remove");
        }
        if round > 0 {
            best = best.min(value);
        }
    }
    std::fs::remove_dir_all(&folder).expect("remove");
    best
}
