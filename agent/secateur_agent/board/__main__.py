"""``python3 secateur-setup.pyz install FOLDER | rollback | remove | status | before-start``."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from .command import main

    sys.exit(main())
