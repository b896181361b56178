"""Run a module as `python -X dev -m MODULE` does, but let it be slow: asyncio's debug mode reports
whatever takes a tenth of a second, and on a busy machine that may be anything."""

import logging
import runpy
import sys


def be_patient() -> None:
    logging.getLogger("asyncio").addFilter(lambda record: not record.msg.startswith("Executing "))


if __name__ == "__main__":
    be_patient()
    sys.path[0] = ""
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
