from __future__ import annotations

from hypothesis import settings

# The first example compiles kernels: no deadline can be fair.
settings.register_profile("compiled", deadline=None)
settings.load_profile("compiled")
