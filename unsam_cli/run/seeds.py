"""Seeds of single images, so that results do not depend on shards, batches or threads."""

from __future__ import annotations

import hashlib


def image_seed(seed: int, image_id: int) -> int:
    """Return the seed of one image, a 32-bit number derived from (`seed`, `image_id`)."""
    digest = hashlib.sha256(f"{seed}/{image_id}".encode()).digest()
    return int.from_bytes(digest[:4], "little")
