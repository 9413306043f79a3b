"""The cache of compiled programs on disk."""

import os
from typing import Any

import jax


def keep_compiled_programs() -> None:
    """Let JAX cache compiled programs in the user's cache folder, unless its settings choose otherwise.

    `JAX_COMPILATION_CACHE_DIR` sets another folder, `JAX_ENABLE_COMPILATION_CACHE=false` disables the cache.
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
