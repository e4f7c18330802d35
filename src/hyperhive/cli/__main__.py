"""`python -m hyperhive.cli`: the same as `hive`, where the script's path is not known."""

import sys

from hyperhive.cli.main import main

sys.exit(main())
