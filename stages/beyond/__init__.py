"""What the article's last sentence leaves to build: "not ready for production use".

Each stage extends the one before; the first extends `stages.disconnects`.
"""

from importlib.util import find_spec

if not find_spec("msgspec"):
    raise SystemExit("the stages beyond the article need msgspec: install it with pip install -e '.[lab]'")
