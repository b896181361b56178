"""What a notebook has started outlives its stop button, and does not outlive its kernel."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from programs import talk

from stages.lab.workbench.processes import Foreign

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals"),
]

KERNEL = """
import sys, time
from stages.lab.lessons.durable import crash
from stages.lab.workbench.processes import Foreign

server = crash.Process("stages.last_seen")
node = Foreign([sys.executable, "-c", "import time; time.sleep(600)"])
node.start()
try:
    print(server.port, server.process.pid, node.process.pid, node.guardian.pid, flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    print("interrupted", flush=True)
time.sleep(600)
"""


class Kernel:
    """A process that has started a server, as lesson 5 does, and a program, as lesson 11 does."""

    def __enter__(self) -> "Kernel":
        self.process = subprocess.Popen(
            [sys.executable, "-c", KERNEL],
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        assert self.process.stdout
        self.out = self.process.stdout
        self.port, *pids = map(int, self.out.readline().split())
        self.started = [psutil.Process(pid) for pid in pids]
        assert len(self.started) == 3
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def running(self) -> list[psutil.Process]:
        return [each for each in self.started if is_running(each)]

    def until_all_are_gone(self) -> None:
        end = time.monotonic() + 30
        while self.running() and time.monotonic() < end:
            time.sleep(0.01)
        assert self.running() == []


def is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_stop_button_ends_nothing_of_earlier_cells() -> None:
    with Kernel() as kernel:
        os.killpg(kernel.process.pid, signal.SIGINT)
        assert kernel.out.readline() == "interrupted\n"
        assert "error" in talk(kernel.port, "hello\n")
        assert kernel.running() == kernel.started
        groups = {os.getpgid(each.pid) for each in kernel.started}
        assert kernel.process.pid not in groups


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_kernel_that_is_killed_takes_all_with_it(number: signal.Signals) -> None:
    with Kernel() as kernel:
        kernel.process.send_signal(number)
        kernel.until_all_are_gone()


def test_a_program_that_is_killed_takes_its_guardian_with_it_and_can_be_started_again() -> None:
    program = Foreign([sys.executable, "-c", "import time; time.sleep(600)"])
    for _ in range(2):
        program.start()
        processes = program.process, program.guardian
        assert [each.poll() for each in processes] == [None, None]
        program.kill()
        assert [each.poll() for each in processes] == [-signal.SIGKILL] * 2
