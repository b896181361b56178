"""The live notebooks: JupyterLite, made of PyPI's wheels and npm's Pyodide alone.

Nothing is fetched from elsewhere, neither when this is built nor when it is used: what the kernel
needs lies beside the page, and it is told to look nowhere else.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from jupyterlite_pyodide_kernel.constants import PYODIDE_VERSION

HERE = Path(__file__).parent
ROOT = HERE.parent
NOTEBOOKS = ROOT / "notebooks"
EXTENSION = "share/jupyter/labextensions/@jupyterlite/pyodide-kernel-extension"
SHIMS = Path(sys.prefix, EXTENSION, "static", "pypi")
"""Wheels of the kernel itself, and some that stand for what works on a server only."""

PYODIDE = (
    "pyodide.mjs",
    "pyodide.asm.mjs",
    "pyodide.asm.wasm",
    "python_stdlib.zip",
    "pyodide-lock.json",
)

UNUSED = {"jupyterlab-widgets", "pexpect", "ptyprocess", "psutil"}
"""What packages ask for, and only a server or a terminal uses."""


def build(output: Path, work: Path) -> None:
    """Build into a folder; `work` is one for what is in between."""
    static = work / "static" / "pyodide"
    static.mkdir(parents=True)
    fetch_pyodide(work, static)
    lock = json.loads((static / "pyodide-lock.json").read_text())
    fetch_wheels(static, lock["info"])
    add_ours(static, work / "copy")
    run("node", HERE / "compile.mjs", static)
    lock["packages"] = packages_of(static)
    (static / "pyodide-lock.json").write_text(json.dumps(lock))
    build_lite(output, work, list(lock["packages"]))


def run(*command: object, cwd: Path = ROOT) -> None:
    """Run a command, and show what it says only if it fails."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


def fetch_pyodide(work: Path, static: Path) -> None:
    run("npm", "pack", f"pyodide@{PYODIDE_VERSION}", cwd=work)
    with tarfile.open(work / f"pyodide-{PYODIDE_VERSION}.tgz") as packed:
        for name in PYODIDE:
            file = packed.extractfile(f"package/{name}")
            assert file
            (static / name).write_bytes(file.read())


def fetch_wheels(static: Path, pyodide: dict[str, str]) -> None:
    python = "".join(pyodide["python"].split(".")[:2])
    platform = f"pyemscripten_{pyodide['abi_version']}_wasm32"
    run(
        *(sys.executable, "-m", "pip", "download", "--dest", static, "--only-binary", ":all:"),
        *("--implementation", "cp", "--python-version", python, "--abi", f"cp{python}"),
        *("--abi", "none", "--platform", platform, "--platform", "any"),
        *("--find-links", SHIMS, "--requirement", HERE / "wheels.txt"),
    )
    for wheel in SHIMS.glob("*.whl"):
        shutil.copy(wheel, static)
    for wheel in static.glob("*.whl"):
        if name_of(wheel) in UNUSED:
            wheel.unlink()


def add_ours(static: Path, copy: Path) -> None:
    """Our own wheel, with the claims, which `check` asks."""
    ignored = shutil.ignore_patterns("__pycache__")
    for part in ("stages", "tests/claims"):
        shutil.copytree(ROOT / part, copy / part, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", static, copy)


def name_of(wheel: Path) -> str:
    return wheel.name.partition("-")[0].replace("_", "-").lower()


def packages_of(static: Path) -> dict[str, Any]:
    """What Pyodide's loader wants to know of each wheel. They are all loaded, so that none has to
    say what it depends on."""
    return {
        name_of(wheel): {
            "name": name_of(wheel),
            "version": wheel.name.split("-")[1],
            "file_name": wheel.name,
            "install_dir": "site",
            "package_type": "package",
            "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
            "imports": [],
            "depends": [],
        }
        for wheel in sorted(static.glob("*.whl"))
    }


def build_lite(output: Path, work: Path, packages: list[str]) -> None:
    contents = work / "contents"
    contents.mkdir()
    for file in [*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("*.svg")]:
        shutil.copy(file, contents)
    kernel = {"disablePyPIFallback": True, "loadPyodideOptions": {"packages": packages}}
    settings = {
        "appName": "A message queue in small steps",
        "exposeAppInBrowser": True,  # for the tests
        "litePluginSettings": {"@jupyterlite/pyodide-kernel-extension:kernel": kernel},
    }
    lite = {"jupyter-lite-schema-version": 0, "jupyter-config-data": settings}
    (work / "jupyter-lite.json").write_text(json.dumps(lite))
    run(
        *(sys.executable, "-m", "jupyter", "lite", "build", "--lite-dir", work),
        *("--output-dir", output, "--contents", contents, "--apps", "lab"),
        *("--no-unused-shared-packages", "--no-sourcemaps", "--no-libarchive"),
        cwd=work,
    )
