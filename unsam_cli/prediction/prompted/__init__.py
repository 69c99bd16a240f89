"""Prediction with promptable models.

===========  ====================================================================================
`settings`   prompts and options; imports nothing heavy
`lines`      files of prompts
`sources`    prompts per image, from options, files or masks
`answers`    one image: prompts in, annotations out
`tiled`      large images: the search in tiles, and answers from the tile of a prompt
`stage`      many images, from files to a file
===========  ====================================================================================
"""
