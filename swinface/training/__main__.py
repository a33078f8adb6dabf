"""``python -m swinface.training OPTIONS`` trains as ``swinface fit`` does: a run in a process of its own."""

from __future__ import annotations

import sys

from swinface.files import InputError
from swinface.training.fit import fit

if __name__ == "__main__":
    try:
        fit(sys.argv[1:])
    except InputError as error:
        sys.exit(str(error))
