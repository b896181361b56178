"""Build the site: pages to read, and the same notebooks to run in the browser.

    $ python .site/build.py _site

It needs the packages of `pip install -e '.[site]'`, and npm.
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

try:
    import live
    import pages
    from tqdm import tqdm
except ModuleNotFoundError as missing:
    problem = f"no {missing.name} here: expected pip install -e '.[site]'"
    raise SystemExit(problem) from None


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: python .site/build.py FOLDER")
    if not shutil.which("npm"):
        raise SystemExit("no npm here: expected Node.js, from your system or nodejs.org")
    output = Path(sys.argv[1]).resolve()
    if output.exists() and any(output.iterdir()) and not (output / "live" / "lab").exists():
        raise SystemExit(f"{output} has other things in it: expected a new folder, or an old site")
    shutil.rmtree(output, ignore_errors=True)
    for part, folder in tqdm([(pages, output), (live, output / "live")], unit="part"):
        with TemporaryDirectory() as work:
            part.build(folder, Path(work))


if __name__ == "__main__":
    main()
