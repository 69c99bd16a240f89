"""Training: one trainer, and tasks for whole-image and promptable segmenters."""

from __future__ import annotations

import os

# Both are read when torch is loaded, which the modules of this room do.
# Threads that spin at barriers take the cores from the workers that decode and augment.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Averaging of gradients warns when no weight is left out, as if batches were all alike.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
