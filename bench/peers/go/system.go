// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"fmt"
	"math/rand"
	"net"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A figure of /proc/self/status in bytes.
func memoryOf(field string) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fail("%v", err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		var kib float64
		if strings.HasPrefix(line, field) {
			fmt.Sscanf(line[len(field):], "%f", &kib)
			return kib * 1024
		}
	}
	fail("no %s", field)
	return 0
}

// A million goroutines asleep.  What is not freed at the end is the process's.
func measureSleepers() float64 {
	const count = 1000000
	resident, tables := memoryOf("VmRSS:"), memoryOf("VmPTE:")
	var begun int64
	start := time.Now()
	for i := 0; i < count; i++ {
		go func() {
			atomic.AddInt64(&begun, 1)
			time.Sleep(time.Hour)
		}()
	}
	for atomic.LoadInt64(&begun) < count {
		time.Sleep(100 * time.Microsecond)
	}
	fmt.Printf("sleepers_create\t%.3f\tms\n", nsPer(start, 1)/1e6)
	fmt.Printf("sleepers_page_table\t%.3f\tB\n", (memoryOf("VmPTE:")-tables)/count)
	return (memoryOf("VmRSS:") - resident) / count
}

func measureTimers() float64 {
	const count = 100000
	late := make([]float64, count)
	durations := make([]time.Duration, count)
	for i := range durations {
		durations[i] = time.Duration(rand.Intn(1000000000))
	}
	var all sync.WaitGroup
	all.Add(count)
	for i := 0; i < count; i++ {
		go func(i int) {
			start := time.Now()
			time.Sleep(durations[i])
			late[i] = float64((time.Since(start) - durations[i]).Nanoseconds()) / 1000
			all.Done()
		}(i)
	}
	all.Wait()
	sort.Float64s(late)
	fmt.Printf("timers_p50\t%.3f\tus\n", late[count/2])
	return late[count*99/100]
}

// A port of loopback, told to whoever drives this and ends it by SIGTERM.
func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail("%v", err)
	}
	fmt.Printf("port\t%d\thttp_hello\n", listener.Addr().(*net.TCPAddr).Port)
	return listener
}

const answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n"

func hello(connection net.Conn) {
	defer connection.Close()
	request := make([]byte, 4096)
	have := 0
	for {
		n, err := connection.Read(request[have:])
		if err != nil || n == 0 {
			return
		}
		have += n
		if !bytes.HasSuffix(request[:have], []byte("\r\n\r\n")) {
			continue
		}
		have = 0
		if _, err := connection.Write([]byte(answer)); err != nil {
			return
		}
	}
}

func serveHello() float64 {
	listener := listen()
	for {
		connection, err := listener.Accept()
		if err != nil {
			fail("%v", err)
		}
		go hello(connection)
	}
}

// The library's own server, which parses requests and writes real answers.
func serveNetHTTP() float64 {
	handler := func(writer http.ResponseWriter, _ *http.Request) {
		writer.Header().Set("Content-Type", "text/plain")
		writer.Write([]byte("Hello, world!\n"))
	}
	fail("%v", http.Serve(listen(), http.HandlerFunc(handler)))
	return 0
}

// By ReadFrom, which asks for copy_file_range: faster than os.ReadFile and os.WriteFile, on small files
// too.
func copyFile(from, to string, size int64) {
	in, err := os.Open(from)
	if err != nil {
		fail("%v", err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		fail("%v", err)
	}
	defer out.Close()
	if n, err := out.ReadFrom(in); err != nil || n != size {
		fail("wrong result: copy of %d bytes: %v", n, err)
	}
}

func copyAll(folder string, count, size int) float64 {
	var next int64
	var copiers sync.WaitGroup
	start := time.Now()
	copiers.Add(64)
	for i := 0; i < 64; i++ {
		go func() {
			defer copiers.Done()
			for {
				number := int(atomic.AddInt64(&next, 1)) - 1
				if number >= count {
					return
				}
				copyFile(fmt.Sprintf("%s/from-%d", folder, number),
					fmt.Sprintf("%s/to-%d", folder, number), int64(size))
			}
		}()
	}
	copiers.Wait()
	return nsPer(start, 1) / 1e6
}

// A warm-up, and the best of three, as Weft and the floor do it.
func measureCopy(count, size int) float64 {
	folder, err := os.MkdirTemp("/dev/shm", "weft-bench-")
	if err != nil {
		fail("%v", err)
	}
	defer os.RemoveAll(folder)
	data := bytes.Repeat([]byte("w"), size)
	for i := 0; i < count; i++ {
		if err := os.WriteFile(fmt.Sprintf("%s/from-%d", folder, i), data, 0644); err != nil {
			fail("%v", err)
		}
	}
	best := 0.0
	for round := 0; round < 4; round++ {
		value := copyAll(folder, count, size)
		for i := 0; i < count; i++ {
			os.Remove(fmt.Sprintf("%s/to-%d", folder, i))
		}
		if round > 0 && (best == 0 || value < best) {
			best = value
		}
	}
	return best
}

func measureCopySmall() float64 { return measureCopy(10000, 4096) }
func measureCopyBig() float64   { return measureCopy(8, 64<<20) }
