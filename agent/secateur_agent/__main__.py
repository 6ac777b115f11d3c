"""``python -m secateur_agent`` is ``secateur-agent``."""

from __future__ import annotations

import sys

from secateur_agent.cli import main

if __name__ == "__main__":
    sys.exit(main())
