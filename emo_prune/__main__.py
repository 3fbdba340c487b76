"""`python -m emo_prune`."""

import sys

from emo_prune.cli import main

sys.exit(main())
