"""A target, judged by the shared tests as a program."""

import os
import subprocess
import sys

from programs import ROOT

from stages.patience import patient


def judged(target: str, until: str, *more: str) -> subprocess.CompletedProcess[str]:
    options = [
        "-q",
        "-p",
        "pytest_asyncio.plugin",
        "-o",
        "addopts=",
        "--target",
        target,
        "--until",
        until,
        *more,
    ]
    command = [sys.executable, "-m", "pytest", "tests/claims", *options]
    environment = {
        **os.environ,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }  # it starts faster without the other plugins
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=patient(60),
    )
