"""Promptable segmenters: SAM and its relatives.

===============  ================================================================================
`settings`       what a model, a prompt and the automatic search are made of; imports nothing heavy
`loading`        models from checkpoints of several makes, and back to files
`meta`           original checkpoints of SAM
`model`          a network of transformers and the new parts beside it; what of it is trained
`tokens`         new mask tokens, which start as copies of SAM's
`granularity`    how fine a mask should be, as one more token of the prompt
`lora`           low-rank adapters of attention
`frame`          pixels of an image and of the network's input
`prompts`        prompts as tensors
`decoding`       from prompts and features to masks, as transformers computes
`folded`         the same in a third of the operations
`session`        questions about one image, answered with masks of its size
`crops`          where the automatic search looks
`automatic`      all masks of an image, from a grid of points
===============  ================================================================================
"""
