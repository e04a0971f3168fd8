# SPDX-License-Identifier: MIT
"""Fibers in gdb: of a process that runs, and of a core file.

    (gdb) source tools/gdb/weft.py
    (gdb) weft fibers            all fibers: id, state, what they wait for, since when, name
    (gdb) weft bt ID|NAME|0xADDR the backtrace of a fiber
    (gdb) weft bt all            of all

It needs the debug information of libweft (-g), of any optimisation, and changes nothing in the
process.  Fibers are found in the stack arenas (runtime/core/stack.h); a suspended one's registers
are where its switch left them (runtime/core/switch.h), and are given to gdb by an unwinder, so
that its frames are found by the usual unwind tables.
"""

import time

import gdb
import gdb.unwinder

# As in runtime/core/stack.h, park.h and fiber.h.
STACK_SHIFT_MIN = 16
STACK_CLASSES = 3
STACK_COLOURS = 16
STACK_COLOUR_STEP = 128
PARK_STATE_MASK = 7
PARK_WAITING = (3, 4)
ID_SHIFT = 11
ID_OUTSIDE = (1 << ID_SHIFT) - 1


def number(value):
    """An integer or a pointer, atomic or not."""
    kind = value.type.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_STRUCT:
        raise gdb.GdbError("weft: unexpected type " + str(kind))
    return int(value.cast(gdb.lookup_type("unsigned long")))


def global_value(name, file):
    symbols = gdb.lookup_static_symbols(name)
    symbols = [symbol for symbol in symbols if symbol.symtab.filename.endswith(file)]
    symbol = symbols[0] if symbols else gdb.lookup_global_symbol(name)
    if symbol is None:
        raise gdb.GdbError("weft: no debug information of libweft here (no symbol %s)" % name)
    return symbol.value()


def read_word(address):
    pointer = gdb.lookup_type("unsigned long").pointer()
    return int(gdb.Value(address).cast(pointer).dereference())


class Fiber:
    def __init__(self, value):
        self.value = value
        self.address = number(value.address)
        self.id = number(value["id"])

    @property
    def id_text(self):
        spawner = self.id & ID_OUTSIDE
        return "%s.%d" % ("x" if spawner == ID_OUTSIDE else spawner, self.id >> ID_SHIFT)

    @property
    def name(self):
        name = self.value["name"]
        try:
            return name.string() if number(name) else "(unnamed)"
        except (gdb.error, UnicodeDecodeError):
            return "(unreadable)"

    @property
    def runtime(self):
        return self.value["group"]["runtime"].dereference()

    @property
    def worker(self):
        """The index of the worker that runs it, or None."""
        runtime = self.runtime
        for index in range(number(runtime["workers"])):
            if number(runtime["worker"][index]["current"]) == self.address:
                return index
        return None

    @property
    def is_stray(self):
        """Whether it runs on a thread without a worker (runtime/core/handoff.h)."""
        return number(self.value["stray_on"]) != 0

    @property
    def waits(self):
        return number(self.value["park"]) & PARK_STATE_MASK in PARK_WAITING

    @property
    def low(self):
        shift = STACK_SHIFT_MIN + 2 * number(self.value["stack_class"])
        return self.address & ~((1 << shift) - 1)

    def has(self, address):
        return self.low <= address < self.address

    def state(self):
        if self.waits:
            return "waiting"
        if self.is_stray:
            return "running"  # another thread drives its worker
        worker = self.worker
        return "ready" if worker is None else "running on %d" % worker

    def waits_for(self):
        if not self.waits or not number(self.value["wait_kind"]):
            return ""
        kind = self.value["wait_kind"].cast(gdb.lookup_type("char").pointer()).string()
        wanted = number(self.value["wait_object"])
        if kind in ("readable", "writable"):
            return "%s fd %d" % (kind, wanted)
        return "%s 0x%x" % (kind, wanted) if wanted else kind

    def since(self, now):
        """Seconds, as far as the workers' clocks went."""
        if not self.waits:
            return ""
        return "%.3f s" % (max(now - number(self.value["since_ns"]), 0) / 1e9)

    def registers(self):
        """Program counter, stack and frame pointer of a suspended fiber, as after the switch."""
        sp = number(self.value["context"]["sp"])
        pc, fp = read_word(sp), read_word(sp + 8)
        if sp == self.address - 16:  # it has never run
            return pc, sp + 8, 0
        if is_x86():
            return pc, sp + 16 + 128, fp
        return pc, sp + 16, fp


def is_x86():
    return gdb.selected_inferior().architecture().name().startswith("i386:x86-64")


LOST = """weft: stacks are missing in this core file.  gdb's own generate-core-file and gcore
cannot write them where the kernel keeps guards without mappings (Linux 6.13 and later); let the
kernel write the core: kill -ABRT, with ulimit -c unlimited."""


def fibers():
    region = global_value("stack_region", "stack.c")
    depots = global_value("depots", "stack.c")
    base, arena_shift = number(region["base"]), number(region["arena_shift"])
    kind = gdb.lookup_type("struct fiber")
    for stack_class in range(STACK_CLASSES):
        shift = STACK_SHIFT_MIN + 2 * stack_class
        arena = base + (stack_class << arena_shift)
        for index in range(number(depots[stack_class]["carved"])):
            slot = arena + (index << shift)
            colour = (slot >> shift) % STACK_COLOURS * STACK_COLOUR_STEP
            address = slot + (1 << shift) - colour - kind.sizeof
            value = gdb.Value(address).cast(kind.pointer()).dereference()
            try:
                lost = number(value["stack_class"]) != stack_class  # constant once carved
                found = number(value["id"]) != 0
            except gdb.MemoryError:
                lost = True
            if lost:
                raise gdb.GdbError(LOST)
            if found:
                yield Fiber(value)


def clock(all_fibers):
    """This machine's clock for a process on it; for a core, the latest time that a worker saw."""
    connection = getattr(gdb.selected_inferior(), "connection", None)
    if connection is not None and connection.type == "native":
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    now = 0
    for runtime in {number(fiber.value["group"]["runtime"]): fiber.runtime
                    for fiber in all_fibers}.values():
        for index in range(number(runtime["workers"])):
            worker = runtime["worker"][index]
            now = max(now, number(worker["tick_ns"]), number(worker["poll_ns"]))
    return now


class SuspendedUnwinder(gdb.unwinder.Unwinder):
    """While a fiber is set: the caller of the thread's innermost frame is that fiber."""

    def __init__(self):
        super().__init__("weft fibers")
        self.fiber = None
        self.start = None

    class FrameId:
        def __init__(self, sp, pc):
            self.sp = sp
            self.pc = pc

    def __call__(self, frame):
        if self.fiber is None:
            return None
        x86 = is_x86()
        names = ("rip", "rsp", "rbp") if x86 else ("pc", "sp", "x29")
        sp = frame.read_register(names[1])
        if number(sp) != self.start:
            return None
        info = frame.create_unwind_info(self.FrameId(sp, frame.read_register(names[0])))
        for name, value in zip(names, self.fiber.registers()):
            kind = frame.read_register(name).type
            info.add_saved_register(name, gdb.Value(value).cast(kind))
        return info


def print_frames(frame):
    level = 0
    while frame is not None:
        place = ""
        sal = frame.find_sal()
        if sal.symtab is not None:
            place = " at %s:%d" % (sal.symtab.filename, sal.line)
        name = (frame.name() or "??").split(".localalias")[0]  # the compiler's, of the same function
        print("   #%-2d 0x%x in %s%s" % (level, frame.pc(), name, place))
        frame = frame.older()
        level += 1


def thread_of(fiber):
    """The thread whose stack pointer is in the fiber's stack, or None."""
    name = "rsp" if is_x86() else "sp"
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        if fiber.has(number(gdb.newest_frame().read_register(name))):
            return thread
    return None


def print_suspended(fiber):
    frame = gdb.newest_frame()
    unwinder.start = number(frame.read_register("rsp" if is_x86() else "sp"))
    unwinder.fiber = fiber
    gdb.invalidate_cached_frames()
    try:
        print_frames(gdb.newest_frame().older())
    finally:
        unwinder.fiber = None
        gdb.invalidate_cached_frames()


def print_backtrace(fiber):
    print("%s [%s], %s %s" % (fiber.name, fiber.id_text, fiber.state(), fiber.waits_for()))
    selected = gdb.selected_thread()
    try:
        if fiber.worker is None and not fiber.is_stray:
            print_suspended(fiber)
        elif thread_of(fiber) is None:
            print("   its thread is not on its stack: it is being entered or left")
        else:
            print_frames(gdb.newest_frame())
    finally:
        selected.switch()


class WeftCommand(gdb.Command):
    """Fibers of libweft: weft fibers, weft bt FIBER, weft bt all."""

    def __init__(self):
        super().__init__("weft", gdb.COMMAND_STACK, gdb.COMPLETE_NONE, True)


class FibersCommand(gdb.Command):
    """List all fibers: id, state, since when and for what they wait, name."""

    def __init__(self):
        super().__init__("weft fibers", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        found = list(fibers())
        now = clock(found)
        print("%-10s %-14s %-12s %-30s %-18s %s" %
              ("ID", "STATE", "SINCE", "WAITS FOR", "ADDRESS", "NAME"))
        for fiber in found:
            print("%-10s %-14s %-12s %-30s 0x%-16x %s" %
                  (fiber.id_text, fiber.state(), fiber.since(now), fiber.waits_for(),
                   fiber.address, fiber.name))


class BacktraceCommand(gdb.Command):
    """Print the backtrace of a fiber, named by its id, its name or its address; or of all."""

    def __init__(self):
        super().__init__("weft bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        wanted = argument.strip()
        found = [fiber for fiber in fibers()
                 if wanted in ("all", fiber.id_text, fiber.name, "0x%x" % fiber.address)]
        if not found:
            raise gdb.GdbError("weft: no fiber is called %r: see `weft fibers`" % wanted)
        for fiber in found:
            print_backtrace(fiber)


unwinder = SuspendedUnwinder()
gdb.unwinder.register_unwinder(None, unwinder, replace=True)
WeftCommand()
FibersCommand()
BacktraceCommand()
