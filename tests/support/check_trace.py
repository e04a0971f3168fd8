#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Check a trace that weft_trace_export wrote.

usage: check_trace.py FILE [overwritten] [turn NAME LEAST] [mark NAME VALUE] [phase P LEAST] [arrow LEAST]

Always: it is JSON, every event has what it needs, no two slices of a track overlap, and every
arrow goes forward in time from a slice to a slice ("overwritten": the slices may be missing).
"""
import collections
import json
import sys


def check(condition, what, *where):
    if not condition:
        sys.exit(f"check_trace: {what}: {where}")


def read(path):
    with open(path, encoding="utf-8") as file:
        trace = json.load(file)
    for event in trace["traceEvents"]:
        for key in ("ph", "name", "pid", "tid", "ts"):
            check(key in event, "an event lacks " + key, event)
        check(event["ts"] >= 0, "an event before the beginning", event)
    return trace["traceEvents"]


def nanoseconds(microseconds):
    return round(microseconds * 1000)


def slices_of(events):
    tracks = collections.defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            start = nanoseconds(event["ts"])
            tracks[event["tid"]].append((start, start + nanoseconds(event["dur"]), event))
    for track in tracks.values():
        track.sort(key=lambda entry: entry[:2])
        for before, after in zip(track, track[1:]):
            check(before[1] <= after[0], "two slices overlap", before, after)
    return tracks


def within(tracks, event):
    time = nanoseconds(event["ts"])
    return any(start <= time <= end for start, end, _ in tracks[event["tid"]])


def check_arrows(events, tracks, whole):
    starts = {}
    drawn = 0
    for event in events:
        if event["ph"] not in "sf":
            continue
        check(not whole or within(tracks, event), "an arrow outside all slices", event)
        if event["ph"] == "s":
            check(event["id"] not in starts, "an arrow begins twice", event)
            starts[event["id"]] = event
        else:
            check(event["id"] in starts, "an arrow ends that did not begin", event)
            check(starts.pop(event["id"])["ts"] <= event["ts"], "an arrow goes back", event)
            drawn += 1
    return drawn


def expect(events, drawn, arguments):
    while arguments:
        word = arguments.pop(0)
        if word == "overwritten":
            continue
        name = arguments.pop(0)
        if word == "arrow":
            check(drawn >= int(name), "too few arrows", drawn, name)
            continue
        value = int(arguments.pop(0))
        if word == "turn":
            found = sum(event["ph"] == "X" and event["name"] == name for event in events)
            check(found >= value, "too few turns", name, found, value)
        elif word == "phase":
            found = sum(event["ph"] == name for event in events)
            check(found >= value, "too few of a phase", name, found, value)
        elif word == "mark":
            values = [event["args"]["value"] for event in events
                      if event["ph"] == "C" and event["name"] == name]
            check(value in values, "no such mark", name, value, values)
        else:
            check(False, "unknown word", word)


def main():
    events = read(sys.argv[1])
    tracks = slices_of(events)
    drawn = check_arrows(events, tracks, "overwritten" not in sys.argv)
    expect(events, drawn, sys.argv[2:])


main()
