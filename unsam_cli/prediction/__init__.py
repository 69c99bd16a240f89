"""Segmenters at work: what `unsam predict` does.

================  ===============================================================================
`settings`        how to predict; imports nothing heavy
`views`           what the network is shown of an image: all of it, and tiles
`masks`           from the factors of masks to runs: chosen first, enlarged in slices
`tiles`           masks of tiles joined across borders
`predict`         one image: pixels in, masks out
`pipeline`        many images: threads before and after the network's
`checkpoints`     which of the two kinds of network a checkpoint holds
`prompted`        promptable models: a room of its own
================  ===============================================================================
"""
