"""`python -m edge.embedded VERB`: what `make` calls."""

import sys

from edge.embedded.commands import main

sys.exit(main())
