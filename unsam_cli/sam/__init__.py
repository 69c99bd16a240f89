"""Promptable segmenters: SAM and its relatives.

===============  ================================================================================
`settings`       settings of a model, a prompt and the automatic search; imports nothing heavy
`loading`        load models from checkpoints of several formats, and save them
`meta` `meta2`   original checkpoints of SAM and of SAM 2
`promptable`     what all promptable models can do; `semantic` is UnSAM's own
`parts` `model`  a network of transformers with new parts; which of its weights are trained
`tokens`         new mask tokens, initialised as copies of SAM's
`granularity`    the requested fineness of a mask, as an additional token of the prompt
`lora`           low-rank adapters of attention layers
`frame`          the mapping between pixels of an image and of the network's input
`prompts`        prompts as tensors
`embedding`      output of the image encoder; `encoder` is its interface as a backbone
`decoding`       from prompts and features to masks, computed as in transformers
`folded`         the same with a third of the operations
`session`        prompts for one image, answered with masks of its size
`crops`          crops and grids of points for the automatic search
`automatic`      all masks of an image, from a grid of points
===============  ================================================================================
"""
