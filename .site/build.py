"""Build the site: pages to read, and the same notebooks to run in the browser.

    $ python .site/build.py _site

It needs the packages of `pip install -e '.[site]'`, and npm.
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import live
import pages
from tqdm import tqdm


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: python .site/build.py FOLDER")
    if not shutil.which("npm"):
        raise SystemExit("no npm here: expected Node.js, from your system or nodejs.org")
    output = Path(sys.argv[1]).resolve()
    shutil.rmtree(output, ignore_errors=True)
    for part, folder in tqdm([(pages, output), (live, output / "live")], unit="part"):
        with TemporaryDirectory() as work:
            part.build(folder, Path(work))


if __name__ == "__main__":
    main()
