"""Train a model: python train.py --config=configs/X.py --workdir=DIR [--config.key=value]...

Equivalent to `rosecd train`.
"""

import sys

from rosecd_jax.cli import app

if __name__ == "__main__":
    app(["train", *sys.argv[1:]], prog_name="rosecd")
