"""``python -m duckvstore`` is the command ``duckvstore``."""

from __future__ import annotations

import sys

from duckvstore.cli import main

if __name__ == "__main__":
    sys.exit(main())
