"""What is under deploy/, checked by the tools and schemas that will read it. Run by ./dev test all."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))  # the harness of the real server
