"""UnSAM's promptable model, a Semantic-SAM: six masks per click.

===========  ====================================================================================
`config`     sizes of the network; imports nothing heavy
`network`    a Swin transformer, then `pyramid` and `clicks`: the pixel decoder, the clicks' decoder
`weights`    names of the weights in published checkpoints and in the network
`files`      published checkpoints and model folders
`model`      the network behind the interface of all promptable models
===========  ====================================================================================
"""
