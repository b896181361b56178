"""What the article's last sentence leaves to build: "not ready for production use".

A queue has three parts here: a broker that knows the rules, a server that moves bytes, a log that
remembers.
"""

from importlib.util import find_spec

for package in ("msgspec", "sortedcontainers"):
    if not find_spec(package):
        # With this name, `python -m` prints one line and no traceback.
        raise ModuleNotFoundError(
            f"the stages beyond the article need {package}: "
            "install it with pip install -e '.[beyond]'",
            name=__name__,
        )
