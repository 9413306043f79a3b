"""Where compiled programs are kept for the next process."""

import os
from typing import Any

import jax


def keep_compiled_programs() -> None:
    """Let JAX keep what it compiles in the user's cache folder, unless the user has said where or not to.

    `JAX_COMPILATION_CACHE_DIR` is another place, `JAX_ENABLE_COMPILATION_CACHE=false` none.
    """
    config: Any = jax.config
    if config.jax_compilation_cache_dir is not None or not config.jax_enable_compilation_cache:
        return
    import platformdirs
    from jax.experimental.compilation_cache import compilation_cache

    folder = platformdirs.user_cache_path("rosecd_jax") / "programs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that can't be written to is no reason not to work
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        compilation_cache.reset_cache()  # else what was decided at the process's first compilation stays
