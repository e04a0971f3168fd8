// SPDX-License-Identifier: MIT

// The rows of the benchmark table in Go.  Called as `go-peer [-workers N] ROW…`; prints a line
// `row<TAB>value<TAB>unit` for each.  Where Go offers two ways (channel or WaitGroup), the one that
// measured faster stands here: a peer is shown at its best.  The rows that need the system (memory,
// timers, sockets, files) are in system.go.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

const (
	batchSize    = 10000
	skynetLeaves = 1000000
	skynetSum    = 499999500000
	fibN         = 32
	fibValue     = 2178309
	fibCalls     = 7049155
)

type row struct {
	measure func() float64
	unit    string
}

var rows = map[string]row{
	"yield":          {measureYield, "ns"},
	"spawn_join":     {measureSpawnJoin, "ns"},
	"spawn_batch":    {measureSpawnBatch, "ns"},
	"ping_pong":      {measurePingPong, "ns"},
	"skynet_join":    {measureSkynetJoin, "ms"},
	"skynet_channel": {measureSkynetChannel, "ms"},
	"fib_1":          {measureFib, "ns"},
	"fib_2":          {measureFib, "ns"},
	"channel_1_1":    {measureChannel1, "M/s"},
	"channel_4_4":    {measureChannel4, "M/s"},
	"sleepers":       {measureSleepers, "B"},
	"timers":         {measureTimers, "us"},
	"copy_small":     {measureCopySmall, "ms"},
	"copy_big":       {measureCopyBig, "ms"},
	"http_hello":     {serveHello, ""},
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

func nsPer(start time.Time, count int) float64 {
	return float64(time.Since(start).Nanoseconds()) / float64(count)
}

// Two goroutines take turns; ns per switch.
func yieldBoth(rounds int) time.Duration {
	var both sync.WaitGroup
	start := time.Now()
	for i := 0; i < 2; i++ {
		both.Add(1)
		go func() {
			defer both.Done()
			for j := 0; j < rounds; j++ {
				runtime.Gosched()
			}
		}()
	}
	both.Wait()
	return time.Since(start)
}

func measureYield() float64 {
	const rounds = 3000000
	yieldBoth(rounds / 20)
	return float64(yieldBoth(rounds).Nanoseconds()) / (2 * rounds)
}

func spawnJoin(rounds int) {
	var one sync.WaitGroup
	for i := 0; i < rounds; i++ {
		one.Add(1)
		go one.Done()
		one.Wait()
	}
}

func measureSpawnJoin() float64 {
	const rounds = 1000000
	spawnJoin(rounds / 20)
	start := time.Now()
	spawnJoin(rounds)
	return nsPer(start, rounds)
}

func spawnBatch(batches int) {
	var all sync.WaitGroup
	for i := 0; i < batches; i++ {
		all.Add(batchSize)
		for j := 0; j < batchSize; j++ {
			go all.Done()
		}
		all.Wait()
	}
}

func measureSpawnBatch() float64 {
	const batches = 100
	spawnBatch(batches / 10)
	start := time.Now()
	spawnBatch(batches)
	return nsPer(start, batches*batchSize)
}

func pingPong(rounds int) {
	ping, pong := make(chan int), make(chan int)
	go func() {
		for value := range ping {
			pong <- value + 1
		}
		close(pong)
	}()
	for i := 0; i < rounds; i++ {
		ping <- i
		if value := <-pong; value != i+1 {
			fail("wrong result: ping_pong got %d for %d", value, i)
		}
	}
	close(ping)
}

func measurePingPong() float64 {
	const rounds = 1500000
	pingPong(rounds / 20)
	start := time.Now()
	pingPong(rounds)
	return nsPer(start, rounds)
}

func skynetJoin(number, size int, result *int) {
	if size == 1 {
		*result = number
		return
	}
	var children sync.WaitGroup
	var results [10]int
	children.Add(10)
	for i := 0; i < 10; i++ {
		go func(i int) {
			skynetJoin(number+i*(size/10), size/10, &results[i])
			children.Done()
		}(i)
	}
	children.Wait()
	for _, value := range results {
		*result += value
	}
}

func skynetChannel(number, size int, parent chan<- int) {
	if size == 1 {
		parent <- number
		return
	}
	children := make(chan int, 10)
	for i := 0; i < 10; i++ {
		go skynetChannel(number+i*(size/10), size/10, children)
	}
	sum := 0
	for i := 0; i < 10; i++ {
		sum += <-children
	}
	parent <- sum
}

func skynetRounds(run func() int) float64 {
	const rounds = 2
	var start time.Time
	for i := 0; i < rounds+1; i++ {
		if i == 1 {
			start = time.Now()
		}
		if sum := run(); sum != skynetSum {
			fail("wrong result: skynet %d", sum)
		}
	}
	return nsPer(start, rounds) / 1e6
}

func measureSkynetJoin() float64 {
	return skynetRounds(func() int {
		sum := 0
		skynetJoin(0, skynetLeaves, &sum)
		return sum
	})
}

func measureSkynetChannel() float64 {
	return skynetRounds(func() int {
		root := make(chan int, 1)
		go skynetChannel(0, skynetLeaves, root)
		return <-root
	})
}

func fib(n int) int {
	if n < 2 {
		return n
	}
	var child sync.WaitGroup
	var left int
	child.Add(1)
	go func() {
		left = fib(n - 1)
		child.Done()
	}()
	right := fib(n - 2)
	child.Wait()
	return left + right
}

func measureFib() float64 {
	fib(fibN - 7)
	start := time.Now()
	if value := fib(fibN); value != fibValue {
		fail("wrong result: fib %d", value)
	}
	return nsPer(start, fibCalls)
}

// Numbers through one channel of 1024 places; millions a second.
func pass(ends, count int) {
	channel := make(chan int, 1024)
	sums := make(chan int, ends)
	var senders sync.WaitGroup
	senders.Add(ends)
	for i := 0; i < ends; i++ {
		go func() {
			sum := 0
			for value := range channel {
				sum += value
			}
			sums <- sum
		}()
		go func(first int) {
			for j := 0; j < count; j++ {
				channel <- first + j
			}
			senders.Done()
		}(i * count)
	}
	senders.Wait()
	close(channel)
	sum, all := 0, ends*count
	for i := 0; i < ends; i++ {
		sum += <-sums
	}
	if sum != all*(all-1)/2 {
		fail("wrong result: the numbers add up to %d", sum)
	}
}

func measureChannel(ends int) float64 {
	const messages, warm = 8000000, 200000
	pass(ends, warm/ends)
	start := time.Now()
	pass(ends, messages/ends)
	return 1000 / nsPer(start, messages)
}

func measureChannel1() float64 { return measureChannel(1) }
func measureChannel4() float64 { return measureChannel(4) }

func main() {
	workers := flag.Int("workers", runtime.NumCPU(), "GOMAXPROCS")
	netHTTP := flag.Bool("net-http", false, "serve http_hello by net/http, which parses")
	flag.Parse()
	if *netHTTP {
		rows["http_hello"] = row{serveNetHTTP, ""}
	}
	runtime.GOMAXPROCS(*workers)
	for _, name := range flag.Args() {
		row, known := rows[name]
		if !known {
			fail("no such row: %s", name)
		}
		if value := row.measure(); row.unit != "" {
			fmt.Printf("%s\t%.3f\t%s\n", name, value, row.unit)
		}
	}
}
