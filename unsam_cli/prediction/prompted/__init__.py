"""Prediction with promptable models.

===========  ====================================================================================
`settings`   prompts and options; imports nothing heavy
`lines`      files of prompts
`sources`    prompts per image, from options, files or masks
`answers`    one image: prompts in, annotations out
`stage`      many images, from files to a file
===========  ====================================================================================
"""
