"""Prediction with trained segmenters: what `unsam predict` does.

================  ===============================================================================
`settings`        how to predict; imports nothing heavy
`views`           the inputs of the network for an image: the whole image, and tiles
`masks`           from queries and features to runs: select masks, then enlarge them in slices
`tiles`           join the masks of tiles across borders
`predict`         one image: pixels in, masks out
`pipeline`        many images: threads before and after the thread of the network
`checkpoints`     which of the two kinds of network a checkpoint holds
`prompted`        promptable models, in a folder of their own
================  ===============================================================================
"""
