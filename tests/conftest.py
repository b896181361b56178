"""What all tests have: the claims' fixtures and options, and patience on a busy machine."""

import signal

import pytest

pytest_plugins = ["given", "matrix", "verdict"]
# before anything imports them
pytest.register_assert_rewrite(*pytest_plugins, "peer", "claim_bench", "clusters", "histories")

from slowly import be_patient

be_patient()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts so what is to run in the background, and our children would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
