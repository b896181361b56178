"""Run by `compile.mjs`: put compiled files into an archive, in place of the sources.

Of our own code these stay, too, since lessons show them; and pytest wants to rewrite our tests.
"""

import importlib.util
import os
import sysconfig
import zipfile
from importlib._bootstrap_external import _code_to_hash_pyc  # type: ignore[attr-defined]

ARCHIVE = "/archive"
UNUSED = ("/tests/", "/django-stubs/")
STDLIB = "python_stdlib.zip"
PACKAGES = sysconfig.get_path("purelib")


def compiled(name: str) -> None:
    ours = name.startswith("message_queue_stages")
    home = f"{os.__file__.rpartition('/')[0]}/" if name == STDLIB else f"{PACKAGES}/"
    with zipfile.ZipFile(ARCHIVE) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            if not ours and any(part in path for part in UNUSED):
                continue
            is_module = path.endswith(".py") and not path.startswith("stages/claims/")
            code = bytecode(home + path, data) if is_module else None
            if code is None or ours:
                archive.writestr(path, data)
            if code is not None:
                cached = importlib.util.cache_from_source(path) if ours else f"{path}c"
                archive.writestr(cached, code)


def bytecode(path: str, source: bytes) -> bytes | None:
    """As a file that is never compared with its source; None if it is no Python of this version."""
    try:
        code = compile(source, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return None
    packed: bytes = _code_to_hash_pyc(code, importlib.util.source_hash(source), False)
    return packed
